package worker

var allowedHere []uintptr
