package profile

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/pprof/driver"
	"github.com/google/pprof/profile"
)

// FlameName is the name of a flame graph that is stored beside a profile.
const FlameName = "flame.html"

// Flame writes a page with the flame graph of p to w: one HTML file that needs no
// network and no server. Its lowest frames are the labels of shards and stages. With a
// base, the page shows what p has more and less than base, which is scaled to the same
// sum before, so that profiles of different lengths compare. Both are left as they are.
//
// The page is pprof's own. What there only works with its server behind it is hidden.
func Flame(w io.Writer, p, base *profile.Profile) error {
	args := []string{
		"-http=localhost:0", "-no_browser", "-symbolize=none", "-tagroot=shard,stage", "-sample_index=cpu",
		fmt.Sprintf("-normalize=%t", base != nil),
	}
	sources := flameSources{newSource: offline(p)}
	if base != nil {
		sources[baseSource] = offline(base)
		args = append(args, "-diff_base="+baseSource)
	}
	page, err := render(append(args, newSource), sources)
	if err != nil {
		return fmt.Errorf("profile: flame graph: %w", err)
	}
	_, err = w.Write(page)
	return err
}

// WriteFlame is Flame into a file.
func WriteFlame(name string, p, base *profile.Profile) error {
	var page bytes.Buffer
	if err := Flame(&page, p, base); err != nil {
		return err
	}
	if err := os.WriteFile(name, page.Bytes(), 0o644); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// offline is a copy without the link to documentation in the network, in which every
// sample has both labels: pprof would call those that are missing by their keys.
func offline(p *profile.Profile) *profile.Profile {
	p = p.Copy()
	p.DocURL = ""
	for _, s := range p.Sample {
		labels := maps.Clone(s.Label)
		if labels == nil {
			labels = make(map[string][]string)
		}
		for _, key := range []string{"shard", "stage"} {
			labels[key] = []string{label(s, key)}
		}
		s.Label = labels
	}
	return p
}

// The names under which pprof is given the profiles.
const (
	newSource  = "new"
	baseSource = "base"
)

// driverMu is held while the driver works: it keeps its settings in globals. Each call
// gives all those that matter here.
var driverMu sync.Mutex

// render has pprof set up its pages, and asks it for that of the flame graph instead
// of serving them.
func render(args []string, sources flameSources) ([]byte, error) {
	driverMu.Lock()
	defer driverMu.Unlock()
	recorder, ui := httptest.NewRecorder(), new(flameUI)
	err := driver.PProf(&driver.Options{
		Flagset: &flameFlags{FlagSet: flag.NewFlagSet("pprof", flag.ContinueOnError), args: args},
		Fetch:   sources,
		UI:      ui,
		HTTPServer: func(a *driver.HTTPServerArgs) error {
			a.Handlers["/flamegraph"].ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/flamegraph", nil))
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	if recorder.Code != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(recorder.Body.String() + " " + ui.errors.String()))
	}
	return withoutServer(recorder.Body.Bytes())
}

// serverOnly hides the menus whose entries ask a server.
const serverOnly = `<style>
#view, #sample, #refine, #config, #download, #action-menu { display: none !important; }
.header .title a { pointer-events: none; }
</style>
`

// withoutServer adds serverOnly to the head of a page.
func withoutServer(page []byte) ([]byte, error) {
	before, after, ok := bytes.Cut(page, []byte("</head>"))
	if !ok {
		return nil, errors.New("pprof wrote no HTML page")
	}
	return bytes.Join([][]byte{before, []byte(serverOnly + "</head>"), after}, nil), nil
}

// flameSources are the profiles by the names under which pprof asks for them.
type flameSources map[string]*profile.Profile

// Fetch returns a profile. Without an address pprof stores no copy of it.
func (s flameSources) Fetch(name string, _, _ time.Duration) (*profile.Profile, string, error) {
	if p := s[name]; p != nil {
		return p, "", nil
	}
	return nil, "", fmt.Errorf("there is no profile %q", name)
}

// flameFlags is a command line that was not typed.
type flameFlags struct {
	*flag.FlagSet
	args []string
}

// StringList defines a flag that may be repeated; here each comes once.
func (f *flameFlags) StringList(name, value, usage string) *[]*string {
	return &[]*string{f.String(name, value, usage)}
}

// ExtraUsage is empty.
func (f *flameFlags) ExtraUsage() string { return "" }

// AddExtraUsage does nothing.
func (f *flameFlags) AddExtraUsage(string) {}

// Parse parses what NewFlagSet was given.
func (f *flameFlags) Parse(usage func()) []string {
	f.SetOutput(io.Discard)
	f.Usage = usage
	if f.FlagSet.Parse(f.args) != nil {
		return nil
	}
	return f.Args()
}

// flameUI keeps what pprof complains about, and shows nothing.
type flameUI struct{ errors strings.Builder }

// ReadLine has nothing to read.
func (*flameUI) ReadLine(string) (string, error) { return "", io.EOF }

// Print drops what is no error.
func (*flameUI) Print(...any) {}

// PrintErr keeps an error.
func (u *flameUI) PrintErr(a ...any) { fmt.Fprintln(&u.errors, a...) }

// IsTerminal is false.
func (*flameUI) IsTerminal() bool { return false }

// WantBrowser is false.
func (*flameUI) WantBrowser() bool { return false }

// SetAutoComplete does nothing.
func (*flameUI) SetAutoComplete(func(string) string) {}
