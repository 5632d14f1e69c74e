// Package guest measures what an engine does to a service in the same process: the
// latency of a net/http handler over loopback, at a fixed rate of requests, in turn with
// an engine at a part of its peak and without one. A round is short and there are many,
// so that what else the machine does meets both alike; what counts is the median of the
// ratios of the rounds.
//
// Requests are due at moments that the answers before do not move, and the clock of each
// runs from then. Moments are awaited on a timer of the kernel where there is one: the
// timers of the Go runtime may be a millisecond late when it has nothing to do, which
// would be all that is seen of a service without an engine.
package guest
