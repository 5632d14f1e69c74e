package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel writes files as a kernel would show them.
func kernelOf(t *testing.T, files map[string]string) procs {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return procs{root}
}

const idleMemory = "MemTotal: 1000000 kB\nMemAvailable: 900000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 10 kB\nWriteback: 0 kB\n"

// Goal: a quiet machine gets no advice, and each thing that disturbs gets its own.
func TestEachDisturbanceGetsAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		look   func(procs) (Sign, bool)
		file   string
		quiet  string
		loud   string
		advice string
	}{
		"load":       {procs.load, "proc/loadavg", "0.01 0.2 0.3 1/2 3", "99.0 1 1 1/2 3", "busy"},
		"governor":   {procs.governor, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n", "powersave\n", "governor performance"},
		"clock":      {procs.clock, "sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n", "acpi_pm\n", "system call"},
		"huge pages": {procs.hugePages, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never", "always madvise [never]", "madvise"},
		"memory":     {procs.memory, "proc/meminfo", idleMemory, strings.Replace(idleMemory, "900000", "9000", 1), "little memory"},
		"swap":       {procs.swap, "proc/meminfo", idleMemory, strings.Replace(idleMemory, "SwapTotal: 0", "SwapTotal: 900000", 1), "swapoff"},
		"dirty":      {procs.dirty, "proc/meminfo", idleMemory, strings.Replace(idleMemory, "Dirty: 10", "Dirty: 900000", 1), "backlog"},
	} {
		if s, ok := c.look(kernelOf(t, map[string]string{c.file: c.quiet})); !ok || s.Advice != "" || s.Text == "" {
			t.Errorf("%s, quiet: %+v", name, s)
		}
		if s, ok := c.look(kernelOf(t, map[string]string{c.file: c.loud})); !ok || !strings.Contains(s.Advice, c.advice) {
			t.Errorf("%s, loud: %+v", name, s)
		}
		if s, ok := c.look(kernelOf(t, nil)); ok && name != "governor" {
			t.Errorf("%s, nothing to be seen: %+v", name, s)
		}
	}
}

func stat(pid, name string, user, system string) string {
	return pid + " (" + name + ") S 1 1 1 0 -1 4194560 1 0 0 0 " + user + " " + system + " 0 0 20 0"
}

func TestWhatOthersTakeIsTold(t *testing.T) {
	before, ok := kernelOf(t, map[string]string{
		"proc/stat": "cpu 100 0 100 1000 0 0 0 0 0 0\n", "proc/7/stat": stat("7", "me", "10", "10"),
		"proc/8/stat": stat("8", "a (b) c", "0", "0"), "proc/9/stat": stat("9", "idle", "5", "5"),
	}).usage()
	after, ok2 := kernelOf(t, map[string]string{
		"proc/stat": "cpu 150 0 130 1100 0 0 0 20 0 0\n", "proc/7/stat": stat("7", "me", "30", "10"),
		"proc/8/stat": stat("8", "a (b) c", "40", "20"), "proc/9/stat": stat("9", "idle", "5", "5"),
	}).usage()
	if !ok || !ok2 {
		t.Fatal("nothing was read")
	}
	signs := between(before, after, 7)
	// 200 ticks in all: 80 of work, 20 of them ours; 20 stolen.
	if signs[0].Text != "30 % of the CPUs, most of it a (b) c (8)" || signs[0].Advice == "" {
		t.Errorf("%+v", signs[0])
	}
	if !strings.Contains(signs[1].Text, "10.0 %") || signs[1].Advice == "" {
		t.Errorf("%+v", signs[1])
	}
	for _, s := range between(before, before, 7) {
		if s.Advice != "" {
			t.Errorf("%+v", s)
		}
	}
}

func TestWhatTheKernelRefusesIsTold(t *testing.T) {
	if s := allowance("AIO", 0, "slow"); s.Text != "allowed" || s.Advice != "" {
		t.Errorf("%+v", s)
	}
	if s := allowance("AIO", unix.EPERM, "slow"); !strings.Contains(s.Text, "not permitted") || s.Advice != "slow" {
		t.Errorf("%+v", s)
	}
	if signs := queues(); len(signs) != 2 || signs[0].Text == "" || signs[1].Text == "" {
		t.Errorf("%+v", signs)
	}
}
