package machine

import "runtime/metrics"

// Usage is what this process used of the machine during a load.
type Usage struct {
	// RSSBytes is how much memory the process held at the end of the load, that of the
	// load generator included; 0 where the system does not say.
	RSSBytes uint64 `json:"rss_bytes"`
	// HeapBytes is how much of it was live on the Go heap after the last collection.
	HeapBytes uint64 `json:"heap_bytes"`
	// GCPart is the garbage collector's part of the CPU time that the process used, from
	// 0 to 1. Collections that were under way at either end are not counted.
	GCPart float64 `json:"gc_part"`
	// Mallocs is how many objects were allocated, by the load generator too.
	Mallocs uint64 `json:"mallocs"`
}

// A Watch measures a Usage from when it was begun.
type Watch struct{ samples []metrics.Sample }

// Order of the samples of a Watch.
const (
	gcSeconds = iota
	allSeconds
	idleSeconds
	mallocs
	heapLive
)

// BeginWatch begins.
func BeginWatch() *Watch {
	w := &Watch{samples: usageSamples()}
	metrics.Read(w.samples)
	return w
}

func usageSamples() []metrics.Sample {
	return []metrics.Sample{
		gcSeconds:   {Name: "/cpu/classes/gc/total:cpu-seconds"},
		allSeconds:  {Name: "/cpu/classes/total:cpu-seconds"},
		idleSeconds: {Name: "/cpu/classes/idle:cpu-seconds"},
		mallocs:     {Name: "/gc/heap/allocs:objects"},
		heapLive:    {Name: "/gc/heap/live:bytes"},
	}
}

// Usage is what was used since the beginning.
func (w *Watch) Usage() Usage {
	now := usageSamples()
	metrics.Read(now)
	seconds := func(i int) float64 { return now[i].Value.Float64() - w.samples[i].Value.Float64() }
	u := Usage{
		RSSBytes: ResidentBytes(), HeapBytes: now[heapLive].Value.Uint64(),
		Mallocs: now[mallocs].Value.Uint64() - w.samples[mallocs].Value.Uint64(),
	}
	if used := seconds(allSeconds) - seconds(idleSeconds); used > 0 {
		u.GCPart = min(max(seconds(gcSeconds)/used, 0), 1)
	}
	return u
}
