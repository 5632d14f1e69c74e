package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeGo puts a shell script in the place of the go tool: it "builds" what says its
// arguments and ends with code 4.
func fakeGo(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh")
	}
	bin := t.TempDir()
	script := "#!/bin/sh\npwd >&2\nprintf '#!/bin/sh\\necho got \"$@\"\\nexit 4\\n' > \"$3\"\nchmod +x \"$3\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestPeersRunWithTheirFlagsAndTheirExitCode(t *testing.T) {
	fakeGo(t)
	r := loadgen(t, "", "peers", "--keys=10k", "--peers", "limit,keyfold", "--json", "x.json")
	if r.code != exitVerify || r.out != "got --keys=10k --peers limit,keyfold --json x.json\n" || !strings.Contains(r.err, "peers did not end well") {
		t.Errorf("%+v", r)
	}
}

func TestPeersSayWhatTheyNeed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if r := loadgen(t, "", "peers"); r.code != exitUsage || !strings.Contains(r.err, "install Go") {
		t.Errorf("%+v", r)
	}
}

func TestPeersAreFoundFromAnyDirectory(t *testing.T) {
	want, err := filepath.Abs(filepath.Join("..", "..", peersPlace))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", t.TempDir()} {
		t.Chdir(dir)
		if got, err := peersSource(); err != nil || got != want {
			t.Errorf("from %s: %q, %v", dir, got, err)
		}
	}
	if isModule(t.TempDir()) {
		t.Error("an empty directory is a module")
	}
}
