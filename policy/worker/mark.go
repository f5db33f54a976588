package worker

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// mark is a page that parent and child share: the child notes there which policy
// it is at. It costs a policy two stores, and is there when the child is dead.
type mark struct {
	page []byte
	// turn changes whenever at does.
	turn, at *atomic.Int64
}

const pageSize = 4096

// newMark makes a page, and the file by which a child gets at it.
func newMark() (*mark, *os.File, error) {
	f, err := os.CreateTemp("", "gitward-mark-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a page to share: %w", err)
	}
	_ = os.Remove(f.Name())
	if err := f.Truncate(pageSize); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("making a page to share: %w", err)
	}
	m, err := openMark(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	m.at.Store(-1)
	return m, f, nil
}

func openMark(f *os.File) (*mark, error) {
	page, err := syscall.Mmap(int(f.Fd()), 0, pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("sharing a page: %w", err)
	}
	return &mark{page: page, turn: (*atomic.Int64)(unsafe.Pointer(&page[0])), at: (*atomic.Int64)(unsafe.Pointer(&page[64]))}, nil
}

// set notes the policy that is evaluated from now on; -1 is none.
func (m *mark) set(policy int) {
	m.at.Store(int64(policy))
	m.turn.Add(1)
}

func (m *mark) close() { _ = syscall.Munmap(m.page) }
