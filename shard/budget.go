package shard

// Rounds that a budget asks for begin when the log has grown by a part of the last
// snapshot, and by a part of SnapshotBytes: a budget that cannot be kept costs at most
// four times as many bytes of snapshots as there are bytes of log.
const (
	budgetSnapshotPart = 4
	budgetLogPart      = 64
)

// budgetDue wants a round so early that a recovery stays within the budget when the
// crash comes at the last moment of the round: the log of all that time is behind the
// older snapshot then. How much a round adds is what the last one added.
func (s *Shard) budgetDue() bool {
	r := &s.round
	if s.cfg.Log.RecoveryBudget <= 0 {
		return false
	}
	if s.log.bytes < max(s.cfg.Log.SnapshotBytes/budgetLogPart, r.last/budgetSnapshotPart) {
		return false
	}
	return s.rates.recovery(r.last, s.log.bytes+r.grew) >= s.cfg.Log.RecoveryBudget
}

// overBudget says that a recovery would take longer than the budget now.
func (s *Shard) overBudget() bool {
	budget := s.cfg.Log.RecoveryBudget
	return budget > 0 && s.rates.recovery(s.round.last, s.log.bytes) >= budget
}
