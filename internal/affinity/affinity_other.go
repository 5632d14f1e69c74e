//go:build !linux

package affinity

func allowed() ([]int, error) { return nil, nil }

func quota() (cpus float64, limited bool) { return 0, false }

func pin(int) (unpin func() error, err error) { return nil, ErrUnsupported }
