package rival

import (
	"os/exec"
	"syscall"
)

// dieTogether has the kernel kill a server when this process is killed. The thread that
// starts it must live on, as those of the Go runtime do.
func dieTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
