package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/arl/statsviz"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/metrics"
)

// watched is a target that has figures to show.
type watched interface {
	Stats(ctx context.Context) (engine.Stats, error)
}

// listenAddress is where --http listens: on this machine only, unless it names a host.
func listenAddress(flag string) string {
	if !strings.Contains(flag, ":") {
		flag = ":" + flag
	}
	if strings.HasPrefix(flag, ":") {
		flag = "127.0.0.1" + flag
	}
	return flag
}

// serve shows the run on a web page, if --http asks for it, until stop.
func (r *run) serve(t bench.Target) (stop func() error, err error) {
	if r.flags.HTTP == "" {
		return func() error { return nil }, nil
	}
	handler, err := pages(t)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", listenAddress(r.flags.HTTP))
	if err != nil {
		return nil, usage("--http: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintf(r.stderr, "%-10shttp://%s/\n", "watch", listener.Addr())
	return func() error {
		err := errors.Join(server.Close(), <-ended)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}, nil
}

const frontPage = `<!doctype html><title>loadgen</title><h1>loadgen</h1><ul>
<li><a href="/debug/statsviz/">statsviz</a>: the Go runtime, live
<li><a href="/debug/pprof/">pprof</a>: profiles
<li><a href="/metrics">metrics</a>: of the store, as Prometheus reads them
</ul>
`

// pages are what --http shows of a target.
func pages(t bench.Target) (http.Handler, error) {
	mux := http.NewServeMux()
	if err := statsviz.Register(mux); err != nil {
		return nil, err
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, frontPage) })
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, q *http.Request) {
		store, ok := t.(watched)
		if !ok {
			http.Error(w, "this store has no metrics", http.StatusNotFound)
			return
		}
		stats, err := store.Stats(q.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", metrics.ContentType)
		_ = metrics.Write(w, metrics.Of(stats)) // whoever asked is gone
	})
	return mux, nil
}
