package shard

// A Notice is something that an operator must know of a shard.
type Notice struct {
	Kind  NoticeKind
	Shard int
	Err   error // why; nil if it is good news
}

// A NoticeKind says what a notice is about.
type NoticeKind uint8

// The kinds of notices.
const (
	NoticeFailed         NoticeKind = iota // the shard is out of service
	NoticeReadOnly                         // an event was refused, because the disk has no room
	NoticeWritable                         // there is room again
	NoticeSnapshotFailed                   // the round is tried again later
	NoticeLapsed                           // OnTimer or OnExpire did not return, or could not be called
)

// notify tells whoever listens.
func (s *Shard) notify(kind NoticeKind, err error) {
	if s.cfg.Notify != nil {
		s.cfg.Notify(Notice{Kind: kind, Shard: s.cfg.Index, Err: err})
	}
}
