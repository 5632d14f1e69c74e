// Command publish makes the table of RELIABILITY.md from the rows that tests have added
// to the matrix:
//
//	go run ./publish rows.json ../../RELIABILITY.md
//
// Without a page it prints the table. Rows with equal fault, name and goal become one. It
// fails if any goal was missed, when it has written the table.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 2 && len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: publish rows.json [RELIABILITY.md]")
		os.Exit(2)
	}
	page := ""
	if len(os.Args) == 3 {
		page = os.Args[2]
	}
	if err := publish(os.Args[1], page); err != nil {
		fmt.Fprintln(os.Stderr, "publish:", err)
		os.Exit(1)
	}
}

// publish puts the table into a page, or prints it if there is none.
func publish(rows, page string) error {
	text, err := os.ReadFile(rows)
	if err != nil {
		return err
	}
	t, err := read(string(text))
	if err != nil {
		return err
	}
	if page == "" {
		fmt.Print(t.text(here()))
		return t.failed()
	}
	before, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	after, err := replaced(string(before), t.text(here()))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.WriteFile(page, []byte(after), 0o644); err != nil {
		return err
	}
	return t.failed()
}

// here says where the rows come from.
func here() string {
	var u unix.Utsname
	kernel := runtime.GOOS
	if err := unix.Uname(&u); err == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("Commit %s, %s, %s, %d CPUs, %s.", commit(), kernel, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format("2 January 2006"))
}

func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
