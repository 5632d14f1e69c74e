package report

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The markers between which Page writes.
const (
	markBegin = "<!-- results: begin (written by loadgen report) -->"
	markEnd   = "<!-- results: end -->"
)

// A Page is what BENCHMARKS.md is written from.
type Page struct {
	// Results are in the order of their numbers.
	Results []*Result
	// Charts are shown where they belong; Folder is where their files are, as seen from
	// the page.
	Charts []Chart
	Folder string
}

// texts are the parts of the page that no result says.
//
//go:embed page/*.md
var texts embed.FS

func text(name string) string {
	b, err := texts.ReadFile(path.Join("page", name+".md"))
	if err != nil {
		panic(err) // it is not in the program
	}
	return string(b)
}

// section is a part of the page.
type section struct {
	title, text string
	// kinds are the results that the tables are about, and make how to get some. A
	// section without kinds is only text.
	kinds []kind
	make  string
	// tables are what the results say.
	tables func(entries []entry) []*table
}

// Titles of sections that have charts.
const (
	streamingTitle = "Streaming"
	ratesTitle     = "At a rate"
	callsTitle     = "Calls"
	skewTitle      = "Load that moves"
	growthTitle    = "Cost as work grows"
	cpuTitle       = "Where the time goes"
)

func (p *Page) sections() []section {
	return []section{
		{"Goals, and what was reached", "goals", all(), "make results", goalTable},
		{"How to read this page", "reading", nil, "", nil},
		{"Against the limit", "limit", []kind{ofLimit}, "loadgen limit --keys 1M --dist zipf:0.99 --durable --json bench/results/31-limit.json", limitTables},
		{"Against rivals", "rivals", []kind{ofPeers}, "loadgen peers --json bench/results/peers.json", peersTables},
		{streamingTitle, "streaming", []kind{ofStream}, "loadgen run --keys 1M --dist zipf:0.99 --verify --json bench/results/11-keys.json", loadTable},
		{ratesTitle, "rates", []kind{ofRate}, "loadgen run --rate 200k --keys 1M --verify --json bench/results/52-rate.json", ratesTable},
		{"The highest rate at a bounded latency", "knee", []kind{ofFindMax}, "loadgen find-max --keys 1M --limit 'p99<20ms' --json bench/results/76-knee.json", stepsTables},
		{callsTitle, "calls", []kind{ofCalls}, "loadgen run --door do --producers 64 --json bench/results/42-calls.json", loadTable},
		{"A service in the same process", "guest", []kind{ofGuest}, "loadgen guest --json bench/results/77-guest.json", guestTable},
		{skewTitle, "skew", []kind{ofSkew}, "loadgen skew --json bench/results/78-skew.json", skewTables},
		{"A snapshot under full load", "imaging", []kind{ofImaging}, "loadgen snapshot --json bench/results/80-snapshot.json", imagingTable},
		{"Recovery", "recovery", []kind{ofRecovery}, "loadgen run --dir d --events 5M --abandon && loadgen recover d --json bench/results/64-recover.json", recoveryTable},
		{"Recovery beside rivals", "killed", []kind{ofKilled}, "loadgen peers --json bench/results/81-peers.json", killedTable},
		{growthTitle, "growth", []kind{ofSweep}, "loadgen sweep --vary keys=100k,1M,10M --json bench/results/71-keys.json", growthTables},
		{"Prices of the layers", "prices", []kind{ofPrices}, "loadgen prices --json bench/results/70-prices.json", pricesTables},
		{"Memory", "memory", []kind{ofStream, ofRate, ofCalls}, "loadgen run --keys 10M --warmup 10M --verify --json bench/results/19-keys.json", memoryTable},
		{cpuTitle, "cpu", []kind{ofStream, ofRate, ofCalls}, "loadgen run --keys 1M --profile results/profile --json bench/results/11-keys.json", cpuTables},
		{"Where it loses, and why", "losses", nil, "", nil},
		{"How to repeat them", "repeating", nil, "", nil},
	}
}

// all are the kinds of all results.
func all() (kinds []kind) {
	for k := ofStream; k < ofNothing; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// Markdown puts the page between the markers of an old one, or, if old has none, into a
// new one. An error says that one marker is missing.
func (p *Page) Markdown(old string) (string, error) {
	if !strings.Contains(old, markBegin) && !strings.Contains(old, markEnd) {
		old = "# Benchmarks\n\n" + markBegin + "\n" + markEnd + "\n"
	}
	before, rest, ok := strings.Cut(old, markBegin)
	_, after, ok2 := strings.Cut(rest, markEnd)
	if !ok || !ok2 {
		return "", fmt.Errorf("report: the page needs both markers, %q and %q, in this order", markBegin, markEnd)
	}
	return before + markBegin + "\n\n" + p.body() + "\n" + markEnd + after, nil
}

func (p *Page) body() string {
	var b strings.Builder
	b.WriteString(p.summary())
	for _, s := range p.sections() {
		fmt.Fprintf(&b, "## %s\n\n%s\n", s.title, text(s.text))
		if s.kinds == nil {
			continue
		}
		tables := s.tables(p.entries(s.kinds...))
		if len(tables) == 0 {
			fmt.Fprintf(&b, "Nothing is stored. What makes it: `%s`.\n\n", s.make)
		}
		for _, t := range tables {
			t.markdown(&b)
		}
		p.images(&b, s.title)
	}
	b.WriteString("## Commands\n\n")
	for i, c := range commands(p.Results) {
		fmt.Fprintf(&b, "%d. `%s`\n", i+1, strings.ReplaceAll(c, "`", "'"))
	}
	b.WriteString("\n## Machines\n\n")
	for i, m := range machines(p.Results) {
		fmt.Fprintf(&b, "%s. %s\n", letter(i), m)
	}
	return b.String()
}

// summary is the beginning of the page.
func (p *Page) summary() string {
	s := "This page is written by `loadgen report` from results that single commands have stored;\nwhat is changed here by hand is lost the next time. Every row was measured on the\nmachine, and from the revision, that it names."
	for _, r := range p.Results {
		if r.Machine.Race {
			s += " **Some rows were measured with the race\ndetector on: their figures mean nothing.**"
			break
		}
	}
	return s + "\n\n"
}

// images shows the charts of a section.
func (p *Page) images(b *strings.Builder, title string) {
	for _, c := range p.Charts {
		if c.Section == title {
			fmt.Fprintf(b, "![%s](%s)\n\n", c.Title, path.Join(p.Folder, c.File))
		}
	}
}

// entries are the results of some kinds, with their numbers.
func (p *Page) entries(kinds ...kind) (list []entry) {
	numbers := commands(p.Results)
	for _, r := range p.Results {
		if slices.Contains(kinds, r.kind()) {
			list = append(list, entry{slices.Index(numbers, r.Command) + 1, r, r.machine(p.Results)})
		}
	}
	return list
}
