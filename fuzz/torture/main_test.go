package torture

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/keyfold/keyfold/fuzz/torture/load"
)

// namespaceVariable says that this process has a mount namespace of its own, so that
// whatever it mounts is gone when it ends, however it ends.
const namespaceVariable = "KEYFOLD_TORTURE_NAMESPACE"

func TestMain(m *testing.M) {
	if orders := os.Getenv(load.Variable); orders != "" {
		if err := load.Run(orders, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if os.Getuid() == 0 && os.Getenv(namespaceVariable) == "" {
		if code, ok := inNamespace(); ok {
			os.Exit(code)
		}
	}
	// Lanes wait for children and disks most of the time.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8") // it is a number
	}
	os.Exit(m.Run())
}

// inNamespace runs this program again in a mount namespace of its own. It says false if
// that is not possible.
func inNamespace() (code int, ok bool) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), namespaceVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, false
	}
	err := cmd.Wait()
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		return max(exit.ExitCode(), 1), true
	}
	return 0, err == nil
}
