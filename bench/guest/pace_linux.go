package guest

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A pacer waits for moments. It must be used by one goroutine at a time.
type pacer struct{ timer *os.File } // a timerfd, which the netpoller waits for

func newPacer() (*pacer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("guest: timerfd: %w", err)
	}
	return &pacer{os.NewFile(uintptr(fd), "timer")}, nil
}

// wait returns when d is over.
func (p *pacer) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	conn, err := p.timer.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := conn.Control(func(fd uintptr) { set = unix.TimerfdSettime(int(fd), 0, &once, nil) }); err != nil {
		return err
	}
	if set != nil {
		return fmt.Errorf("guest: timerfd: %w", set)
	}
	var expired [8]byte
	_, err = p.timer.Read(expired[:])
	return err
}

func (p *pacer) close() error { return p.timer.Close() }
