package engine_test

import (
	"fmt"

	"github.com/keyfold/keyfold/engine"
)

// A mapping reads straight down. What is wrong with a line comes back from Parse.
func ExampleNewJSON() {
	type Quake struct {
		Magnitude float64
		At        int64
		Felt      uint64 // how many people reported it; often left out
	}
	quakes := engine.NewJSON(func(l *engine.Line) (string, Quake, error) {
		q := Quake{Magnitude: l.Float("properties", "mag"), At: l.Int("properties", "time")}
		if l.Has("properties", "felt") {
			q.Felt = l.Uint("properties", "felt")
		}
		return l.Text("properties", "net"), q, nil
	})

	for _, line := range []string{
		`{"properties":{"net":"nc","mag":2.5,"time":1517959681000,"felt":null}}`,
		`{"properties":{"net":"ci","mag":"big","time":1517959682000}}`,
		`{"properties":{"net":"ci","mag":01}}`,
	} {
		key, quake, err := quakes.Parse([]byte(line))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(key, quake.Magnitude, quake.At, quake.Felt)
	}
	// Output:
	// nc 2.5 1517959681000 0
	// keyfold: bad line: field properties.mag is a string, not a number, in "{\"properties\":{\"net\":\"ci\",\"mag\":\"big\",\"time\":1517959682000}}"
	// keyfold: bad line: not JSON at byte 33: invalid character '1' after object key:value pair, in "{\"properties\":{\"net\":\"ci\",\"mag\":01}}"
}
