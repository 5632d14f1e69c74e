package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: what a run stores is enough for the pages and the charts.
func TestReportShowsARunInPictures(t *testing.T) {
	dir := t.TempDir()
	result := filepath.Join(dir, "r.json")
	if r := loadgen(t, "", "run", "--keys=1k", "--events=400k", "--profile", filepath.Join(dir, "p"), "--json", result, "--quiet"); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	page, html, svg := filepath.Join(dir, "docs", "B.md"), filepath.Join(dir, "r.html"), filepath.Join(dir, "svg")
	if err := os.Mkdir(filepath.Dir(page), 0o700); err != nil {
		t.Fatal(err)
	}
	if r := loadgen(t, "", "report", result, "--out", page, "--html", html, "--svg", svg); r.code != exitFine || !strings.Contains(r.out, html) {
		t.Fatalf("%+v", r)
	}
	for name, want := range map[string]string{
		page: "![Streaming: latency](../svg/streaming-latency.svg)",
		html: "Latency by percentile",
		filepath.Join(svg, "streaming-latency.svg"):          "Latency by percentile",
		filepath.Join(svg, "where-the-time-goes-shards.svg"): "shard-00",
	} {
		if text, err := os.ReadFile(name); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %q is missing, %v", name, want, err)
		}
	}
}

func TestReportsThatCannotBeWrittenAreToldInOneSentence(t *testing.T) {
	dir := t.TempDir()
	result := filepath.Join(dir, "r.json")
	if r := loadgen(t, "", "run", "--keys=1k", "--events=1k", "--json", result, "--quiet"); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	half := writeFile(t, "half.md", "<!-- results: end -->")
	for name, c := range map[string]wrong{
		"HTML":     {[]string{"report", result, "--html", filepath.Join(dir, "none", "r.html")}, exitUsage, "--html"},
		"SVG":      {[]string{"report", result, "--svg", result}, exitUsage, "--svg"},
		"page":     {[]string{"report", result, "--out", dir}, exitUsage, "--out"},
		"half":     {[]string{"report", result, "--out", half}, exitFailed, "both markers"},
		"no rows":  {[]string{"report", writeFile(t, "p.json", `{"schema":2,"rows":[{"schema":1}]}`)}, exitFailed, "another schema"},
		"no times": {[]string{"report", writeFile(t, "t.json", `{"schema":1,"events":5,"latency_hdr":"x"}`), "--svg", dir}, exitFailed, "not a histogram"},
	} {
		c.check(t, name)
	}
}
