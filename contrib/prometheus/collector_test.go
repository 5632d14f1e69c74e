package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/metrics"
)

// A site is an engine under a registry, as a program has them.
type site struct {
	testing.TB
	engine   *engine.Engine
	registry *client.Registry
}

// newSite opens a store and sends 300 events to one table and 100 to the other.
func newSite(tb testing.TB) *site {
	tb.Helper()
	fold := func(_ *engine.Context[string], s *int64, e int64) { *s += e }
	users, odd := engine.Fold("users", fold), engine.Fold("odd \"name\"\n\\", fold)
	ctx := context.Background()
	e, err := engine.Open(ctx, tb.TempDir(), engine.Options{Shards: 2, Partitions: 16}, users, odd)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { e.Close() })
	for i := range 400 {
		table := users
		if i%4 == 0 {
			table = odd
		}
		if _, err := table.Do(ctx, fmt.Sprint("secret-", i%30), 1, engine.Written); err != nil {
			tb.Fatal(err)
		}
	}
	if err := e.Snapshot(ctx); err != nil {
		tb.Fatal(err)
	}
	s := &site{TB: tb, engine: e, registry: client.NewPedanticRegistry()}
	s.registry.MustRegister(NewCollector(e))
	return s
}

// parse reads a page as Prometheus does.
func (s *site) parse(page io.Reader) map[string]*dto.MetricFamily {
	s.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(page)
	if err != nil {
		s.Fatal(err)
	}
	return families
}

func (s *site) scrape() string {
	s.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		s.Fatal(w.Code, w.Body)
	}
	return w.Body.String()
}

// value is the sum of a metric over its labels.
func value(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum
}

func TestScrapeIsWhatPrometheusReads(t *testing.T) {
	s := newSite(t)
	page := s.scrape()
	families := s.parse(strings.NewReader(page))
	for name, want := range map[string]float64{
		"keyfold_up": 1, "keyfold_events_total": 400, "keyfold_table_operations_total": 400, "keyfold_partitions": 16,
		"keyfold_failed": 0, "keyfold_read_only": 0, "keyfold_snapshots_total": 2, "keyfold_log_replay_bytes": 0,
	} {
		if f := families[name]; f == nil || value(f) != want {
			t.Errorf("%s is %v, want %v", name, f, want)
		}
	}
	for _, name := range []string{"keyfold_sync_duration_seconds", "keyfold_busy_seconds_total", "keyfold_snapshot_bytes", "keyfold_log_frames_total"} {
		if value(families[name]) == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	tables := map[string]float64{}
	for _, m := range families["keyfold_table_operations_total"].GetMetric() {
		tables[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	if tables["users"] != 300 || tables["odd \"name\"\n\\"] != 100 {
		t.Errorf("operations by table: %v", tables)
	}
	if strings.Contains(page, "secret") {
		t.Error("a key is in the metrics")
	}
}

func TestNamesAndHelpFollowTheConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(newSite(t).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Goal: what package metrics writes by itself is what the client library makes of the
// same figures.
func TestTextIsThatOfTheClientLibrary(t *testing.T) {
	s := newSite(t)
	stats, err := s.engine.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var own, theirs bytes.Buffer
	if err := metrics.Write(&own, metrics.Of(stats)); err != nil {
		t.Fatal(err)
	}
	registry := client.NewPedanticRegistry()
	registry.MustRegister(fixed{NewCollector(s.engine), stats})
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gathered {
		if _, err := expfmt.MetricFamilyToText(&theirs, f); err != nil {
			t.Fatal(err)
		}
	}
	have, want := s.parse(&own), s.parse(&theirs)
	if len(have) != len(want) || len(have) < 20 {
		t.Errorf("%d families, and %d of the client library", len(have), len(want))
	}
	for name, f := range want {
		if !slices.Equal(sorted(have[name]), sorted(f)) || have[name].GetHelp() != f.GetHelp() || have[name].GetType() != f.GetType() {
			t.Errorf("%s is\n%v, and\n%v of the client library", name, have[name], f)
		}
	}
}

// sorted is the metrics of a family in an order that does not depend on who wrote them.
func sorted(f *dto.MetricFamily) []string {
	var all []string
	for _, m := range f.GetMetric() {
		slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
		all = append(all, m.String())
	}
	slices.Sort(all)
	return all
}

// fixed collects given figures.
type fixed struct {
	client.Collector
	stats engine.Stats
}

func (f fixed) Collect(to chan<- client.Metric) { f.Collector.(*collector).send(to, f.stats) }

func (f fixed) Describe(chan<- *client.Desc) {}

// dashboard is what the test reads of dashboard.json.
type dashboard struct {
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
}

// queries are all that the dashboard asks Prometheus for, with where they stand.
func queries(t *testing.T) map[string]string {
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board dashboard
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			all[target.Expr] = "panel " + panel.Title
		}
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			all[v.Query] = "variable " + v.Name
		}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`keyfold_\w+`)
	ratedName  = regexp.MustCompile(`rate\((keyfold_\w+)`)
	grouping   = regexp.MustCompile(`by \((\w+)\) \((?:rate\()?(keyfold_\w+)`)
)

// Goal: the dashboard shows every metric, and none that does not exist in what Prometheus
// scrapes, its variables included.
func TestDashboardShowsEveryMetricAndNoOther(t *testing.T) {
	families := newSite(t).families()
	shown := map[string]bool{}
	for query, where := range queries(t) {
		names := metricName.FindAllString(query, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing: %s", where, query)
		}
		for _, name := range names {
			base := strings.TrimSuffix(name, "_bucket")
			if shown[base] = true; families[base] == nil || (base != name) != (families[base].GetType() == dto.MetricType_HISTOGRAM) {
				t.Errorf("%s shows %s, which does not exist", where, name)
			}
		}
	}
	for name := range families {
		if !shown[name] {
			t.Errorf("nothing shows %s", name)
		}
	}
}

// Goal: the dashboard takes rates of what only grows, and never the bare value of that; and
// it groups by labels that the metric has.
func TestDashboardFitsTheKindsOfItsMetrics(t *testing.T) {
	families := newSite(t).families()
	grouped := 0
	for query, where := range queries(t) {
		rated := map[string]bool{}
		for _, m := range ratedName.FindAllStringSubmatch(query, -1) {
			rated[m[1]] = true
		}
		for _, name := range metricName.FindAllString(query, -1) {
			f := families[strings.TrimSuffix(name, "_bucket")]
			if grows := f.GetType() != dto.MetricType_GAUGE; grows != rated[name] {
				t.Errorf("%s: %s is a %v, and its rate is taken: %v", where, name, f.GetType(), rated[name])
			}
		}
		for _, m := range grouping.FindAllStringSubmatch(query, -1) {
			grouped++
			f := families[strings.TrimSuffix(m[2], "_bucket")]
			has := slices.ContainsFunc(f.GetMetric()[0].GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == m[1] })
			if !has && m[1] != "le" {
				t.Errorf("%s: %s has no label %s", where, m[2], m[1])
			}
		}
	}
	if grouped < 20 {
		t.Errorf("%d groupings were looked at", grouped)
	}
}

func (s *site) families() map[string]*dto.MetricFamily {
	return s.parse(strings.NewReader(s.scrape()))
}

func TestAClosedEngineIsDown(t *testing.T) {
	s := newSite(t)
	if err := s.engine.Close(); err != nil {
		t.Fatal(err)
	}
	families := s.families()
	if len(families) != 1 || value(families["keyfold_up"]) != 0 {
		t.Errorf("%v", families)
	}
}

// Goal: a registry keeps its label for the store apart from those of the engine.
func TestTwoEnginesAreToldApartByALabel(t *testing.T) {
	one, two := newSite(t), newSite(t)
	registry := client.NewPedanticRegistry()
	for store, s := range map[string]*site{"one": one, "two": two} {
		client.WrapRegistererWith(client.Labels{"store": store}, registry).MustRegister(NewCollector(s.engine))
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(gathered, func(f *dto.MetricFamily) bool { return f.GetName() == "keyfold_up" })
	if at < 0 || value(gathered[at]) != 2 {
		t.Errorf("%v", gathered)
	}
}
