package sandbox

var allowedHere []uintptr
