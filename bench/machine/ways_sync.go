package machine

// syncWays are the ways of waiting for a sync.
func syncWays(func(i int64) int64) []way { return nil }
