package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Commander makes the command that runs Child with a file of orders. It ends with
// ctx.
type Commander func(ctx context.Context, orders string) *exec.Cmd

// process is a child that was started.
type process struct {
	cmd   *exec.Cmd
	said  tail
	ended chan struct{} // closed when err is set
	err   error
}

func start(ctx context.Context, o *Orders, command Commander) (*process, error) {
	if err := o.write(); err != nil {
		return nil, err
	}
	p := &process{cmd: command(ctx, o.file("orders")), ended: make(chan struct{})}
	p.cmd.Stderr = &p.said
	alive, err := p.cmd.StdinPipe() // never written to; it ends with this process
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("drill: child: %w", err)
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

// until waits until done says so, or the child has ended, or d is over; d of 0 is no
// limit. It says whether done did.
func (p *process) until(d time.Duration, done func() (bool, error)) (bool, error) {
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

// never is a condition for until that only time or the child's end ends.
func never() (bool, error) { return false, nil }

// kill kills the child with SIGKILL and waits until it is gone. An error says that it
// had ended by itself.
func (p *process) kill() error {
	select {
	case <-p.ended:
		return p.failure()
	default:
	}
	_ = p.cmd.Process.Kill() // it may end at this moment; failure finds out
	<-p.ended
	return p.failure()
}

// finish waits for the end of a child that is to end by itself.
func (p *process) finish() error {
	<-p.ended
	return p.failure()
}

// failure is nil if the child was killed by a signal, or ended well. Else it is what
// the child said last.
func (p *process) failure() error {
	exit, ok := errors.AsType[*exec.ExitError](p.err)
	if p.err == nil || ok && exit.ExitCode() < 0 {
		return nil
	}
	return fmt.Errorf("drill: the child ended by itself: %w: %s", p.err, p.said.text())
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
