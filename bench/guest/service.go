package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Times are the distributions of what requests took.
type Times struct {
	// Response is from when a request was due, Service from when it was sent, and Lag how
	// late it was sent.
	Response, Service, Lag *hdrhistogram.Histogram
}

// Range of the histograms.
const (
	timeLowest  = 64
	timeHighest = int64(time.Minute)
)

func newTimes() Times {
	h := func() *hdrhistogram.Histogram { return hdrhistogram.New(timeLowest, timeHighest, 3) }
	return Times{h(), h(), h()}
}

// merge adds what other has.
func (t Times) merge(other Times) {
	t.Response.Merge(other.Response)
	t.Service.Merge(other.Service)
	t.Lag.Merge(other.Lag)
}

// record takes over one request: when it was due, sent and answered.
func (t Times) record(due, sent, answered time.Duration) {
	for _, one := range []struct {
		of   *hdrhistogram.Histogram
		took time.Duration
	}{{t.Response, answered - due}, {t.Service, answered - sent}, {t.Lag, sent - due}} {
		_ = one.of.RecordValue(min(max(int64(one.took), 0), timeHighest)) // it fits
	}
}

// A service is an HTTP server on loopback, and those who ask it.
type service struct {
	server http.Server
	url    string
	client http.Client
	idle   func() // closes the connections of client
	ended  chan error
	pacers []*pacer // one for each client
}

// clients is how many requests may be under way: more than a rate and a latency of
// milliseconds need.
const clients = 32

// answer is the body of every response.
const answer = "hello\n"

func newService() (*service, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	transport := &http.Transport{MaxIdleConns: clients, MaxIdleConnsPerHost: clients}
	s := &service{url: "http://" + listener.Addr().String(), ended: make(chan error, 1)}
	s.client.Transport, s.idle = transport, transport.CloseIdleConnections
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, answer) // the client sees what is missing
	})
	go func() { s.ended <- s.server.Serve(listener) }()
	for range clients {
		p, err := newPacer()
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.pacers = append(s.pacers, p)
	}
	return s, nil
}

// close ends the server, and waits for it.
func (s *service) close() error {
	s.idle()
	errs := []error{s.server.Close()}
	if err := <-s.ended; !errors.Is(err, http.ErrServerClosed) {
		errs = append(errs, err)
	}
	for _, p := range s.pacers {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// ask makes so many requests, one every so often, each by the client whose turn it is.
func (s *service) ask(ctx context.Context, requests int, every time.Duration) (Times, error) {
	all, errs := make([]Times, clients), make([]error, clients)
	var group sync.WaitGroup
	start := time.Now()
	for i := range clients {
		all[i] = newTimes()
		group.Go(func() {
			for n := i; n < requests && errs[i] == nil; n += clients {
				errs[i] = s.askOnce(ctx, s.pacers[i], start, time.Duration(n)*every, all[i])
			}
		})
	}
	group.Wait()
	total := newTimes()
	for _, t := range all {
		total.merge(t)
	}
	return total, errors.Join(errs...)
}

// askOnce makes one request when it is due.
func (s *service) askOnce(ctx context.Context, p *pacer, start time.Time, due time.Duration, t Times) error {
	if err := p.wait(due - time.Since(start)); err != nil {
		return err
	}
	sent := time.Since(start)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	t.record(due, sent, time.Since(start))
	if response.StatusCode != http.StatusOK || string(body) != answer {
		return fmt.Errorf("guest: the answer is %s %q", response.Status, body)
	}
	return nil
}
