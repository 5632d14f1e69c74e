package main

import (
	"context"
	"log"
	"os"
)

func Example() {
	dir, err := os.MkdirTemp("", "deploy")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := deploy(context.Background(), dir); err != nil {
		log.Fatal(err)
	}
	// Output:
	// version 1: {Spent:153450} <nil>
	// the wrong upgrade: table cards, key card-3: the log makes {Euros:1533 Cents:75}, the snapshot holds {Euros:1534 Cents:0}
	// equal: 1 states after 100 events
	// the right upgrade: <nil>
	// without a word about visits: keyfold: table "visits" was refused: the store has this table, the program does not; its log cannot be replayed without it, so pass it to Open, or Dropped("visits") to let it go for good
	// version 2: {Euros:1534 Cents:50} <nil>, 1 states lifted
}
