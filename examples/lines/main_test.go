package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

func Example() {
	dir, err := os.MkdirTemp("", "lines")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	in := strings.NewReader(`{"origin":"ORD","delay":12}
{"origin":"LAX","delay":-3}
{"origin":"ORD"}
{"origin":"ORD","delay":95}
`)
	if err := run(context.Background(), filepath.Join(dir, "store"), in, os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// line 3 was left out: keyfold: bad line: field delay is missing, in "{\"origin\":\"ORD\"}"
	// LAX: 1 flights, 0 late, the worst by 0 minutes
	// ORD: 2 flights, 2 late, the worst by 95 minutes
}
