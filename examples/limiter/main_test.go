package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/enginetest"
)

// childOf is set in a process of the test that is the limiter itself.
const childOf = "LIMITER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childOf); dir != "" {
		os.Args = []string{"limiter", dir}
		main()
	}
	os.Exit(m.Run())
}

// start runs the limiter in a process of its own, and returns where it listens.
func start(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childOf+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = c.Process.Kill() // SIGKILL
		_ = c.Wait()
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + strings.TrimSpace(line), kill
}

func ask(ctx context.Context, url, user, key string) (v Verdict, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/"+user, nil)
	if err != nil {
		return v, err
	}
	r.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return v, err
	}
	defer response.Body.Close()
	return v, json.NewDecoder(response.Body).Decode(&v)
}

// Goal: requests count once, whatever happens to the limiter. Method: it is killed while
// a client asks; the client asks again under the same keys, and then once more for all.
func TestKilledLimiterCountsARequestOnce(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "store")
	const requests = 60
	answers := make([]Verdict, requests)
	next := 0
	for life := 1; next < requests; life++ {
		url, kill := start(t, dir)
		stop := make(chan struct{})
		for done := 0; next < requests; done++ {
			if done == 9*life {
				go func() { kill(); close(stop) }() // while the next ones are under way
			}
			v, err := ask(ctx, url, "ann", fmt.Sprint(next))
			if err != nil {
				break // nobody knows; ask the next limiter
			}
			answers[next] = v
			next++
		}
		if next < requests {
			<-stop
		}
		kill()
	}
	url, _ := start(t, dir)
	for i, want := range answers {
		v, err := ask(ctx, url, "ann", fmt.Sprint(i))
		if err != nil || v != want || v.Number != int64(i+1) {
			t.Fatalf("request %d: %+v, %v, at first %+v", i+1, v, err, want)
		}
	}
}

// Goal: a client that goes away and comes back is counted once. Method: a disk that loses
// power while a request is under way whose client has gone.
func TestClientThatGoesAwayIsCountedOnce(t *testing.T) {
	limits := newLimits()
	store := enginetest.Open(t, limits)
	request := func(ctx context.Context) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/bob", nil)
		r.Header.Set("Idempotency-Key", "1")
		handler(limits).ServeHTTP(w, r)
		return w
	}
	gone, cancel := context.WithCancel(context.Background())
	go cancel() // before, while or after the event is done
	first := request(gone)
	for range 2 {
		store.CrashAndReopen(enginetest.PowerLost)
		second := request(context.Background())
		if first.Code == http.StatusOK && second.Body.String() != first.Body.String() {
			t.Fatalf("at first %s, then %s", first.Body, second.Body)
		}
	}
	if s, _, err := limits.Get(context.Background(), "/bob", engine.OnlyDurable); err != nil || s.Asked != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
}
