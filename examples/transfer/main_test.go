package main

import (
	"context"
	"os"
	"path/filepath"
)

func Example() {
	dir, err := os.MkdirTemp("", "transfer")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := run(context.Background(), filepath.Join(dir, "store"), os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// ann cannot pay 700: not enough money: there are 300 cents (not done)
	// ann has 0 cents
	// bob has 1000 cents
	// ann paid 2 times and was refused 1 times
}
