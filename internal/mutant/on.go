//go:build mutant

package mutant

import (
	"fmt"
	"os"
	"slices"
)

// Built says that bugs can be switched on in this build.
const Built = true

// Variable is the environment variable that names the bug to switch on.
const Variable = "KEYFOLD_MUTANT"

// Names are the names of all bugs.
var Names []string

// The bugs. What each does is said where it stands.
var (
	AckBeforeSync        = on("ack-before-sync")
	AckOfFrameBefore     = on("ack-of-frame-before")
	AckBeforeRotation    = on("ack-before-rotation")
	IgnoredSyncError     = on("ignored-sync-error")
	IgnoredWriteError    = on("ignored-write-error")
	ForgottenFailure     = on("forgotten-failure")
	SegmentNotListed     = on("segment-not-listed")
	FullSegmentNotSynced = on("full-segment-not-synced")
	FullSegmentLeft      = on("full-segment-left")
	GenerationNotListed  = on("generation-not-listed")
	ReplacementNotListed = on("replacement-not-listed")
	ReplacementNotSynced = on("replacement-not-synced")
	ManifestNotListed    = on("manifest-not-listed")
	ChecksumNotChecked   = on("checksum-not-checked")
	HeaderNotChecked     = on("header-not-checked")
	ChainNotChecked      = on("chain-not-checked")
	SnapshotNotChecked   = on("snapshot-not-checked")
	SealNotChecked       = on("seal-not-checked")
	EmptyEntryAccepted   = on("empty-entry-accepted")
	HorizonTooHigh       = on("horizon-too-high")
	HorizonTooLow        = on("horizon-too-low")
	TailNotWrittenAgain  = on("tail-not-written-again")
	AppendBehindTear     = on("append-behind-tear")
	SnapshotNotSynced    = on("snapshot-not-synced")
	SnapshotNotListed    = on("snapshot-not-listed")
	SnapshotOutrunsLog   = on("snapshot-outruns-log")
	StampTooHigh         = on("stamp-too-high")
	LogRemovedEarly      = on("log-removed-early")
	OlderLogForgotten    = on("older-log-forgotten")
	AppliedTwice         = on("applied-twice")
	TimeNotMarked        = on("time-not-marked")
	CommitBeforeParts    = on("commit-before-parts")
	OldOwnerWins         = on("old-owner-wins")
	RouteNotChecked      = on("route-not-checked")
	AppliedWithoutRoom   = on("applied-without-room")
	ReadOnlyForever      = on("read-only-forever")
	PanicNotUndone       = on("panic-not-undone")
	NotLocked            = on("not-locked")
)

// on adds a bug to the list, and says whether it is the one to switch on.
func on(name string) bool {
	Names = append(Names, name)
	return os.Getenv(Variable) == name
}

func init() {
	if name := os.Getenv(Variable); name != "" && !slices.Contains(Names, name) {
		panic(fmt.Sprintf("%s: there is no bug %q", Variable, name)) // of a test build only
	}
}
