// Package child runs child processes that are there to be killed: it waits for what
// they do, kills them at the moment of the parent's choice, and keeps what they said
// last.
package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A Process is a child that was started. Its methods may be called concurrently.
type Process struct {
	cmd   *exec.Cmd
	said  tail
	ended chan struct{} // closed when err is set
	err   error
}

// Start runs a command. Its standard input is a pipe that is never written to and ends
// with this process, so that a child which reads it does not outlive its parent.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stderr = &p.said
	alive, err := p.cmd.StdinPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("child: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		_ = alive.Close() // Wait has closed it
		close(p.ended)
	}()
	return p, nil
}

// lookEvery is how often the parent looks at what its child has done.
const lookEvery = time.Millisecond

// Until waits until done says so, or the child has ended, or d is over; d of 0 is no
// limit. It says whether done did.
func (p *Process) Until(d time.Duration, done func() (bool, error)) (bool, error) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var over <-chan time.Time
	if d > 0 {
		over = time.After(d)
	}
	for {
		ok, err := done()
		if ok || err != nil {
			return ok, err
		}
		select {
		case <-p.ended:
			return done()
		case <-over:
			return false, nil
		case <-ticker.C:
		}
	}
}

// Never is a condition for Until that only time or the child's end ends.
func Never() (bool, error) { return false, nil }

// Ended says that the child is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Signal sends a signal, if the child is still there.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Pid is the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill kills the child with SIGKILL and waits until it is gone. An error says that it
// had ended by itself, and what it said last.
func (p *Process) Kill() error {
	if !p.Ended() {
		_ = p.cmd.Process.Kill() // it may end at this moment; failure finds out
	}
	<-p.ended
	return p.failure()
}

// Finish waits for the end of a child that is to end by itself. An error is that it ended
// with one, and what it said last.
func (p *Process) Finish() error {
	<-p.ended
	return p.failure()
}

// failure is nil if the child was killed by a signal, or ended well.
func (p *Process) failure() error {
	exit, ok := errors.AsType[*exec.ExitError](p.err)
	if p.err == nil || ok && exit.ExitCode() < 0 {
		return nil
	}
	return fmt.Errorf("the child ended by itself: %w: %s", p.err, p.said.text())
}

// tail keeps the end of what a child writes.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 4 << 10

// Write keeps the last bytes.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailBytes {
		t.b = bytes.Clone(t.b[len(t.b)-tailBytes:])
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
