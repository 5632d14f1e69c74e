// Package testdata holds real events for tests and for the demo, inside the
// binary, so that neither needs a working directory. SOURCE says where they are from.
package testdata

import _ "embed"

// Flights is the text of flights-2k.ndjson: 2,000 flights, one JSON object a line.
//
//go:embed flights-2k.ndjson
var Flights string
