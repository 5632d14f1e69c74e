package drive

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Calm waits until what was written before to the file system of dir is on the disk, so
// that it does not slow down what is measured next.
func Calm(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("drive: %w", err)
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
