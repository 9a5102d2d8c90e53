package journal

import (
	"errors"
	"fmt"
	"os"
)

// ErrInUse is wrapped by the error of Open for a folder that is open already.
var ErrInUse = errors.New("the data folder is in use by another process")

const lockName = "LOCK"

// lockFolder takes the folder for this process; closing the file gives it back,
// and so does the end of the process, however it comes.
func lockFolder(root *os.Root, dir string) (*os.File, error) {
	f, err := root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := tryLock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", dir, err), f.Close())
	}
	return f, nil
}
