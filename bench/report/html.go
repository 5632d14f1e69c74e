package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"unicode"
)

//go:embed page/report.html
var htmlText string

var htmlPage = template.Must(template.New("report").Parse(htmlText))

// htmlSection is a section of the HTML page.
type htmlSection struct {
	Title  string
	Tables []htmlTable
	Charts []htmlChart
}

type htmlTable struct {
	Caption string
	Head    []htmlCell
	Rows    [][]htmlCell
	Notes   []string
}

type htmlCell struct {
	Text             string
	Words, Bad, Long bool
}

type htmlChart struct {
	Title string
	SVG   template.HTML
}

// HTML is a page with the tables and the charts of the results. It refers to no other
// file, and runs no script.
func (p *Page) HTML() ([]byte, error) {
	var sections []htmlSection
	for _, s := range p.sections() {
		if s.kinds == nil {
			continue
		}
		if h := p.htmlSection(s); len(h.Tables) > 0 {
			sections = append(sections, h)
		}
	}
	var b bytes.Buffer
	err := htmlPage.Execute(&b, map[string]any{
		"Results": p.Results, "Sections": sections, "Commands": commands(p.Results), "Machines": machines(p.Results),
	})
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Bytes(), nil
}

func (p *Page) htmlSection(s section) htmlSection {
	h := htmlSection{Title: s.title}
	for _, t := range s.tables(p.entries(s.kinds...)) {
		h.Tables = append(h.Tables, t.folded().html())
	}
	for _, c := range p.Charts {
		if c.Section == s.title {
			h.Charts = append(h.Charts, htmlChart{c.Title, inline(c.SVG)})
		}
	}
	return h
}

// inline is an SVG without the lines that only a file of its own has.
func inline(svg []byte) template.HTML {
	if i := bytes.Index(svg, []byte("<svg")); i > 0 {
		svg = svg[i:]
	}
	return template.HTML(svg) // drawn by package chart, which escapes what it is given
}

func (t *table) html() htmlTable {
	h := htmlTable{Caption: t.caption, Notes: slices.Concat(t.notes, t.details)}
	words := make([]bool, len(t.head)) // of each column
	for _, r := range t.rows {
		for i, c := range r {
			words[i] = words[i] || strings.ContainsFunc(c, unicode.IsLetter) && len(c) > wordsMin
		}
	}
	for i, c := range t.head {
		h.Head = append(h.Head, htmlCell{Text: c, Words: words[i]})
	}
	for _, r := range t.rows {
		var list []htmlCell
		for i, c := range r {
			list = append(list, htmlCell{Text: strings.ReplaceAll(strings.Trim(c, "`"), "**", ""), Words: words[i], Bad: strings.Contains(c, "FAILED") || c == "missed", Long: len(c) > longMin})
		}
		h.Rows = append(h.Rows, list)
	}
	return h
}

// wordsMin is the length above which a cell with letters is text rather than a number
// with its unit.
const wordsMin = 9

// longMin is the length above which a cell may be broken into lines.
const longMin = 48
