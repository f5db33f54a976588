package artifact

import "fmt"

// The limits of one artifact. They are far above what repositories hold, and
// keep what a hostile one may cost to seconds and to memory that is there.
const (
	maxFiles       = 50_000     // and as many directories
	maxBytes       = 100 << 20  // that Merge and Extract read and make; as pkg/tar has it for one archive
	maxWork        = 20_000_000 // names looked at, times what a pattern costs
	maxPattern     = 1024       // bytes of a pattern, as the CRD has it for from
	maxExcludes    = 100        // as the CRD has it
	maxName        = 4096       // bytes of a path, as Linux has it
	maxMerge       = 4 << 20    // bytes of a file that is merged
	maxExpanded    = 32 << 20   // what its aliases may come to in memory
	maxAlternative = 256        // that the braces of one pattern may come to
)

type budget struct{ files, dirs, bytes, work int }

func newBudget() *budget {
	return &budget{files: maxFiles, dirs: maxFiles, bytes: maxBytes, work: maxWork}
}

func (b *budget) file() error {
	if b.files--; b.files < 0 {
		return fmt.Errorf("the artifact has more than %d files", maxFiles)
	}
	return nil
}

func (b *budget) dir() error {
	if b.dirs--; b.dirs < 0 {
		return fmt.Errorf("the artifact has more than %d directories", maxFiles)
	}
	return nil
}

func (b *budget) read(n int) error {
	if b.bytes -= n; b.bytes < 0 {
		return fmt.Errorf("the artifact merges and extracts more than %d bytes", maxBytes)
	}
	return nil
}

func (b *budget) look(n int) error {
	if b.work -= n; b.work < 0 {
		return fmt.Errorf("the artifact takes more than %d steps to lay out", maxWork)
	}
	return nil
}
