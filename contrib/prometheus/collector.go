// Package prometheus offers the figures of a Keyfold engine to the client library of
// Prometheus. It is a module of its own, so that programs without Prometheus need nothing
// of it.
//
//	registry.MustRegister(prometheus.NewCollector(eng))
//
// Two engines in one process are told apart by a label of the program's:
//
//	client.WrapRegistererWith(client.Labels{"store": "sessions"}, registry).MustRegister(...)
//
// Package metrics of Keyfold says what the metrics are. dashboard.json, beside this file,
// shows all of them in Grafana.
package prometheus

import (
	"context"
	"time"

	client "github.com/prometheus/client_golang/prometheus"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/metrics"
)

// timeout is how long a scrape waits for the shards to say how they are.
const timeout = 5 * time.Second

// collector is the metrics of one engine. It is safe for concurrent use.
type collector struct {
	engine *engine.Engine
	up     *client.Desc
	descs  map[string]*client.Desc
}

// NewCollector returns the metrics of an engine. Each collection asks the engine once, for
// all of them. While it gives no answer, because it is closed or does not come to it
// within five seconds, keyfold_up is 0, and there is nothing else.
func NewCollector(e *engine.Engine) client.Collector {
	c := &collector{
		engine: e,
		up:     client.NewDesc("keyfold_up", "1 if the engine has answered.", nil, nil),
		descs:  make(map[string]*client.Desc),
	}
	for _, f := range metrics.Of(engine.Stats{}) {
		c.descs[f.Name] = client.NewDesc(f.Name, f.Help, f.Labels, nil)
	}
	return c
}

// Describe sends what metrics there are.
func (c *collector) Describe(to chan<- *client.Desc) {
	to <- c.up
	for _, desc := range c.descs {
		to <- desc
	}
}

// Collect sends their values.
func (c *collector) Collect(to chan<- client.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	stats, err := c.engine.Stats(ctx)
	if err != nil {
		to <- client.MustNewConstMetric(c.up, client.GaugeValue, 0)
		return
	}
	to <- client.MustNewConstMetric(c.up, client.GaugeValue, 1)
	c.send(to, stats)
}

func (c *collector) send(to chan<- client.Metric, stats engine.Stats) {
	bounds := metrics.Bounds()
	for _, f := range metrics.Of(stats) {
		for _, s := range f.Samples {
			to <- metric(c.descs[f.Name], f.Kind, s, bounds)
		}
	}
}

func metric(desc *client.Desc, kind metrics.Kind, s metrics.Sample, bounds []float64) client.Metric {
	if kind == metrics.Histogram {
		buckets := make(map[float64]uint64, len(bounds))
		for i, n := range s.Buckets.Below {
			buckets[bounds[i]] = n
		}
		return client.MustNewConstHistogram(desc, s.Buckets.Count, s.Buckets.Sum, buckets, s.Labels...)
	}
	value := client.GaugeValue
	if kind == metrics.Counter {
		value = client.CounterValue
	}
	return client.MustNewConstMetric(desc, value, s.Value, s.Labels...)
}
