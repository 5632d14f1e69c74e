package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/testdata"
)

// writeFile leaves a file with a text, and returns its name.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// wrong is a command line that must fail, with its code and a part of its sentence.
type wrong struct {
	args []string
	code int
	says string
}

// check runs it, and returns what was said on standard error.
func (w wrong) check(t *testing.T, name string) {
	t.Helper()
	r := loadgen(t, "", w.args...)
	last := r.err[strings.LastIndex(strings.TrimSpace(r.err), "\n")+1:]
	if r.code != w.code || !strings.Contains(last, w.says) || !strings.HasPrefix(last, "loadgen: ") {
		t.Errorf("%s: code %d, %q; want %d, %q", name, r.code, r.err, w.code, w.says)
	}
}

func TestWrongFlagsAreToldInOneSentence(t *testing.T) {
	dir, file := t.TempDir(), writeFile(t, "f", "x")
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]wrong{
		"wrong flag":         {[]string{"run", "--shard", "2"}, exitUsage, "--shards"},
		"wrong enum":         {[]string{"run", "--ack", "soon"}, exitUsage, "durable"},
		"wrong count":        {[]string{"run", "--keys", "10Q"}, exitUsage, "10Q"},
		"another count":      {[]string{"run", "--events", "10x"}, exitUsage, "10x"},
		"no keys":            {[]string{"run", "--keys", "0"}, exitUsage, "keys"},
		"no command":         {nil, exitUsage, "expected one of"},
		"other command":      {[]string{"jump"}, exitUsage, "jump"},
		"an argument":        {[]string{"run", "all"}, exitUsage, "all"},
		"no key":             {[]string{"run", "--in", file}, exitUsage, "--key"},
		"key, no file":       {[]string{"run", flightKey}, exitUsage, "--in"},
		"no path":            {[]string{"run", "--in", file, "--key", "origin"}, exitUsage, ".origin"},
		"wrong dist":         {[]string{"run", "--dist", "normal"}, exitUsage, "zipf:0.99"},
		"wrong sync":         {[]string{"run", "--sync", "soon"}, exitUsage, "10ms"},
		"wrong limit":        {[]string{"run", "--limit", "p98<1ms"}, exitUsage, "p99<2ms"},
		"used directory":     {[]string{"run", "--dir", dir}, exitUsage, "not empty"},
		"file for directory": {[]string{"run", "--dir", file}, exitUsage, "not a directory"},
		"no producers":       {[]string{"run", "--producers=0"}, exitUsage, "producers"},
		"no window":          {[]string{"run", "--window=0"}, exitUsage, "window"},
		"small events":       {[]string{"run", "--size=8"}, exitUsage, "16"},
		"never durable":      {[]string{"run", "--sync=never", "--events=10"}, exitUsage, "durable"},
		"too many shards":    {[]string{"run", "--shards=5000", "--events=10"}, exitUsage, "1024"},
		"negative shards":    {[]string{"run", "--shards=-1", "--events=10"}, exitUsage, "-1"},
		"negative duration":  {[]string{"run", "--duration=-1s"}, exitUsage, "--duration"},
		"unwritable result":  {[]string{"run", "--json", filepath.Join(dir, "none", "r.json")}, exitUsage, "--json"},
		"directory for JSON": {[]string{"run", "--json", dir}, exitUsage, "--json"},
		"file for profiles":  {[]string{"run", "--profile", file}, exitUsage, "--profile"},
		"abandoned where":    {[]string{"run", "--abandon"}, exitUsage, "--dir"},
		"no kills":           {[]string{"crash", "--kills=0"}, exitUsage, "killed"},
		"no life":            {[]string{"crash", "--live=0s"}, exitUsage, "live"},
		"drill never synced": {[]string{"crash", "--sync=never"}, exitUsage, "durable"},
		"drill's directory":  {[]string{"crash", "--dir", dir}, exitUsage, "not empty"},
		"no run there":       {[]string{"recover", dir}, exitUsage, "workload.json"},
		"nothing there":      {[]string{"recover", filepath.Join(dir, "none")}, exitUsage, "none"},
		"file for run":       {[]string{"recover", file}, exitUsage, "workload.json"},
		"no results":         {[]string{"report"}, exitUsage, "file"},
		"no result":          {[]string{"report", file}, exitFailed, "not a result"},
		"missing result":     {[]string{"report", filepath.Join(dir, "none")}, exitFailed, "none"},
	} {
		c.check(t, name)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestFlagsOfLayersThatDoNotGoTogetherSayWhatDoes(t *testing.T) {
	for name, c := range map[string]wrong{
		"ids of producers":     {[]string{"run", "--once=10k"}, exitUsage, "--door batch"},
		"ids of sources":       {[]string{"run", "--once=10k", "--door=source"}, exitUsage, "--name"},
		"too many ids":         {[]string{"run", "--once=5M", "--door=do"}, exitUsage, "4,194,304"},
		"again without ids":    {[]string{"run", "--resend=1%", "--door=do"}, exitUsage, "--once 10k"},
		"no share":             {[]string{"run", "--resend=often"}, exitUsage, "1%"},
		"more than all":        {[]string{"run", "--resend=101%"}, exitUsage, "1%"},
		"names of calls":       {[]string{"run", "--name=n", "--door=do"}, exitUsage, "--once"},
		"names of batches":     {[]string{"run", "--name=n", "--door=batch"}, exitUsage, "--once"},
		"changes of nothing":   {[]string{"run", "--changes"}, exitUsage, "--keep-log 1GiB"},
		"states of nothing":    {[]string{"run", "--states", "--keep-log=1GiB"}, exitUsage, "add --changes"},
		"states and timers":    {[]string{"run", "--states", "--changes", "--keep-log=1GiB", "--timer=1s"}, exitUsage, "leave these out"},
		"changes never synced": {[]string{"run", "--changes", "--keep-log=1GiB", "--sync=never", "--ack=written"}, exitUsage, "--sync commit"},
		"nothing kept":         {[]string{"run", "--keep-log=0"}, exitUsage, "1GiB"},
		"kept for what":        {[]string{"run", "--keep-log=long"}, exitUsage, "10m"},
		"timer too soon":       {[]string{"run", "--timer=1us"}, exitUsage, "1ms"},
		"timer in the past":    {[]string{"run", "--timer=-1s"}, exitUsage, "1ms"},
		"life of what":         {[]string{"run", "--ttl=10m"}, exitUsage, "idle=10m"},
		"life twice":           {[]string{"run", "--ttl=idle=1m,idle=2m"}, exitUsage, "age=24h"},
		"life without end":     {[]string{"run", "--ttl=age=0s"}, exitUsage, "age=24h"},
		"names without a sync": {[]string{"run", "--name=n", "--ack=written"}, exitUsage, "--ack durable"},
	} {
		c.check(t, name)
	}
}

func TestWrongInputIsToldInOneSentence(t *testing.T) {
	lines := func(tail string) string { return writeFile(t, "f.ndjson", testdata.Flights+tail) }
	csv := writeFile(t, "f.csv", "a,b\n1,2\n3,x\n")
	for name, c := range map[string]wrong{
		"missing file":  {[]string{"run", "--in", filepath.Join(t.TempDir(), "none"), flightKey}, exitUsage, "no such file"},
		"directory":     {[]string{"run", "--in", t.TempDir(), flightKey}, exitUsage, "is a directory"},
		"broken line":   {[]string{"run", "--in", lines("{\"origin\":\n"), flightKey}, exitFailed, "line 2001"},
		"no such field": {[]string{"run", "--in", lines("{\"origin\":\"LAX\"}\n"), flightKey}, exitFailed, "line 2001: there is no field .destination"},
		"empty":         {[]string{"run", "--in", writeFile(t, "f.ndjson", ""), flightKey}, exitFailed, "not one event"},
		"no column":     {[]string{"run", "--in", csv, "--key=.c"}, exitUsage, ".a, .b"},
		"no number":     {[]string{"run", "--in", csv, "--key=.a", "--value=.b"}, exitFailed, "line 3: column 2 is not a number"},
		"empty CSV":     {[]string{"run", "--in", writeFile(t, "f.csv", ""), "--key=.a"}, exitUsage, "is empty"},
	} {
		c.check(t, name)
	}
}

func TestBrokenLimitHasItsCode(t *testing.T) {
	wrong{[]string{"run", "--events=1k", "--limit", "p50<1ns"}, exitLimit, "p50<1ns"}.check(t, "limit")
	wrong{[]string{"run", "--events=1k", "--limit", "rate>1G"}, exitLimit, "rate>1G"}.check(t, "limit")
}

func TestStoresThatCannotBeRecoveredAreToldInOneSentence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if r := loadgen(t, "", "run", "--events=1k", "--dir", dir, "--quiet"); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	options := store.Options{Dir: filepath.Join(dir, storeName), EventBytes: store.EventBytesMin}
	holder, err := store.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	wrong{[]string{"recover", dir}, exitFailed, "is locked by"}.check(t, "locked")
	if err := holder.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wrong{[]string{"recover", dir, "--shards=5000"}, exitUsage, "1024"}.check(t, "shards")
	wrong{[]string{"recover", dir, "--json", dir}, exitUsage, "--json"}.check(t, "json")
	wrong{[]string{"recover", dir, "--in", dir}, exitUsage, "--in"}.check(t, "in")
	if err := os.WriteFile(filepath.Join(options.Dir, "MANIFEST"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong{[]string{"recover", dir}, exitFailed, "MANIFEST is damaged"}.check(t, "no store")
	wrong{[]string{"recover", dir}, exitFailed, "run keyfold verify"}.check(t, "what to do")
	if err := os.RemoveAll(options.Dir); err != nil {
		t.Fatal(err)
	}
	wrong{[]string{"recover", dir}, exitUsage, "holds no store"}.check(t, "no store at all")
}

func TestStoreWithMoreThanWasDescribedFailsItsVerification(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if r := loadgen(t, "", "run", "--events=1k", "--keys=10", "--dir", dir, "--quiet"); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	d, err := readDescription(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.Events -= 100
	if err := d.write(dir); err != nil {
		t.Fatal(err)
	}
	wrong{[]string{"recover", dir}, exitVerify, "events and was sent"}.check(t, "more events")
}

// program runs the test binary as the program itself.
func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	return cmd
}

func TestExitCodesAreThoseOfTheProcess(t *testing.T) {
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitFine, []string{"--help"}},
		{exitFine, []string{"run", "--events=100", "--quiet", "--verify"}},
		{exitUsage, []string{"run", "--bogus"}},
		{exitFailed, []string{"run", "--in", writeFile(t, "f", "{\n"), "--key=.a"}},
		{exitLimit, []string{"run", "--events=100", "--quiet", "--limit=max<1ns"}},
	} {
		cmd := program(t.Context(), c.args...)
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: code %d instead of %d, %v", c.args, code, c.code, err)
		}
	}
}

func TestAbandonedStoreReplaysItsLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	run := []string{"run", "--events=5k", "--keys=100", "--warmup=1k", "--quiet", "--abandon", "--verify", "--dir", dir}
	if out, err := program(t.Context(), run...).CombinedOutput(); err != nil || !strings.Contains(string(out), "with 6,000 events") {
		t.Fatalf("%v, %s", err, out)
	}
	r := loadgen(t, "", "recover", dir)
	if r.code != exitFine || !strings.Contains(r.out, "6,000 events replayed") || !strings.Contains(r.out, "OK: 100 keys with 6,000 events") {
		t.Errorf("%+v", r)
	}
}

func TestInterruptEndsARunWell(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no interrupts between processes")
	}
	result := filepath.Join(t.TempDir(), "r.json")
	cmd := program(t.Context(), "run", "--keys=100", "--duration=1h", "--verify", "--json", result)
	status, err := cmd.StderrPipe()
	var out bytes.Buffer
	cmd.Stdout = &out
	if err = errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, status, "in flight\n") // the head of the status lines: it is under load
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "verify    OK") || !strings.Contains(out.String(), "interrupted") {
		t.Errorf("%v, %s", err, &out)
	}
	if r, err := report.ReadFile(result); err != nil || r.Failed != "interrupted" {
		t.Errorf("%v, %+v", err, r)
	}
	wrong{[]string{"compare", result, result}, exitFailed, "the run failed: interrupted"}.check(t, "compared")
}

// waitFor reads until a text has come, and lets the rest flow away.
func waitFor(t *testing.T, r interface{ Read([]byte) (int, error) }, text string) {
	t.Helper()
	var seen []byte
	for b := make([]byte, 1<<10); !bytes.Contains(seen, []byte(text)); {
		n, err := r.Read(b)
		seen = append(seen, b[:n]...)
		if err != nil {
			t.Fatalf("%q did not come: %v, %s", text, err, seen)
		}
	}
	go func() {
		for b := make([]byte, 1<<10); ; {
			if _, err := r.Read(b); err != nil {
				return
			}
		}
	}()
}

func TestOutputThatNobodyReadsIsAFailureAfterTheRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	cmd := program(t.Context(), "run", "--events=1k", "--quiet", "--dir", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("code %d, %v", code, err)
	}
	if r := loadgen(t, "", "recover", dir); r.code != exitFine || !strings.Contains(r.out, "had been closed") {
		t.Errorf("%+v", r)
	}
}

func TestCompressedStandardInputIsRead(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(testdata.Flights)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	r := loadgen(t, packed.String(), "run", "--in=-", flightKey, flightValue, "--verify", "--quiet")
	if r.code != exitFine || !strings.Contains(r.out, "OK: 1,411 keys with 2,000 events") {
		t.Errorf("%+v", r)
	}
}

func TestProfileSaysWhereEachShardSpentItsTime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	r := loadgen(t, "", "run", "--duration=1s", "--quiet", "--shards=2", "--profile", dir)
	if r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	if !regexp.MustCompile(`shard +\d+\.\d % +\d+\.\d\d s  shard-0[01] apply`).MatchString(r.out) {
		t.Errorf("no stage of a shard in\n%s", r.out)
	}
	if info, err := os.Stat(filepath.Join(dir, "cpu.pb.gz")); err != nil || info.Size() == 0 {
		t.Error(info, err)
	}
}

// Goal: readers of results can rely on their fields, of a run and of a recovery.
func TestResultsHaveTheirFieldsAndOnlyNumbersThatJSONHas(t *testing.T) {
	dir, results := filepath.Join(t.TempDir(), "d"), t.TempDir()
	run, recovery := filepath.Join(results, "run.json"), filepath.Join(results, "recover.json")
	for _, args := range [][]string{
		{"run", "--events=1k", "--keys=10", "--rate=100k", "--verify", "--quiet", "--dir", dir, "--json", run},
		{"recover", dir, "--json", recovery},
	} {
		if r := loadgen(t, "", args...); r.code != exitFine {
			t.Fatalf("%+v", r)
		}
	}
	common := []string{"schema", "command", "seed", "events", "seconds", "events_per_second", "ack", "sync", "shards",
		"latency_ns.p50", "latency_ns.p90", "latency_ns.p99", "latency_ns.p999", "latency_ns.max",
		"verify.ok", "verify.keys", "machine.cpu", "machine.cpus", "machine.revision", "machine.file_system"}
	for name, fields := range map[string][]string{
		run:      append([]string{"late_ns.p50"}, common...),
		recovery: append([]string{"recovery.seconds", "recovery.events", "recovery.keys"}, common...),
	} {
		text, err := os.ReadFile(name)
		var got map[string]any
		if err != nil || json.Unmarshal(text, &got) != nil {
			t.Fatalf("%v, %s", err, text)
		}
		for _, field := range fields {
			outer, inner, _ := strings.Cut(field, ".")
			value := got[outer]
			if m, ok := value.(map[string]any); ok && inner != "" {
				value = m[inner]
			}
			if value == nil {
				t.Errorf("%s has no %s", filepath.Base(name), field)
			}
		}
	}
}
