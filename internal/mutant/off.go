//go:build !mutant

// Package mutant holds the bugs that the tests of the project are tested with. Each is
// one condition at its place in the code that it breaks. A build with the tag "mutant"
// can switch one of them on, and the test that fails then is the proof that such a bug
// would not come through:
//
//	make mutants
//	KEYFOLD_MUTANT=ack-before-sync go test -tags mutant ./fuzz
//
// Without the tag each is a constant that is false, and the compiler leaves nothing of
// what stands behind it.
package mutant

// Built says that bugs can be switched on in this build.
const Built = false

// The bugs. What each does is said where it stands.
const (
	AckBeforeSync        = false
	AckOfFrameBefore     = false
	AckBeforeRotation    = false
	IgnoredSyncError     = false
	IgnoredWriteError    = false
	ForgottenFailure     = false
	SegmentNotListed     = false
	FullSegmentNotSynced = false
	FullSegmentLeft      = false
	GenerationNotListed  = false
	ReplacementNotListed = false
	ReplacementNotSynced = false
	ManifestNotListed    = false
	ChecksumNotChecked   = false
	HeaderNotChecked     = false
	ChainNotChecked      = false
	SnapshotNotChecked   = false
	SealNotChecked       = false
	EmptyEntryAccepted   = false
	HorizonTooHigh       = false
	HorizonTooLow        = false
	TailNotWrittenAgain  = false
	AppendBehindTear     = false
	SnapshotNotSynced    = false
	SnapshotNotListed    = false
	SnapshotOutrunsLog   = false
	StampTooHigh         = false
	LogRemovedEarly      = false
	OlderLogForgotten    = false
	AppliedTwice         = false
	TimeNotMarked        = false
	CommitBeforeParts    = false
	OldOwnerWins         = false
	RouteNotChecked      = false
	AppliedWithoutRoom   = false
	ReadOnlyForever      = false
	PanicNotUndone       = false
	NotLocked            = false
)
