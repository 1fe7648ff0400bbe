// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"time"

	"winery/internal/limits"
)

// The default limits of a server.
const (
	// BodyMemory and AnswerMemory are the budgets in bytes for what clients send and
	// for what they are sent, unless the largest object or the memory of the process
	// demands others.
	BodyMemory   = 512 << 20
	AnswerMemory = 512 << 20
	// Small is the size in bytes up to which a body or a content is outside of
	// the budgets: small requests are answered while the budgets are exhausted.
	// The number of connections bounds what they take together.
	Small = 32 << 10

	memoryWait  = 5 * time.Second
	bodyStall   = 10 * time.Second
	answerStall = 30 * time.Second
	patience    = 30 * time.Second
	minRate     = 256 << 10
	work        = 15 * time.Minute
	halfClosed  = 10 * time.Second
)

// Limits bound what each client can hold, in memory and in time. Handlers of
// one server share them.
type Limits struct {
	Bodies  *Memory // for bodies of requests, from their arrival until they are answered
	Answers *Memory // for contents in answers, until they are written

	// BodyStall and AnswerStall are the longest times in which a client may
	// send nothing of a body, or take nothing of an answer.
	BodyStall, AnswerStall time.Duration
	// Patience and MinRate bound the time that a client takes for a whole body
	// or a whole answer: Patience, and 1 s for each MinRate bytes.
	Patience time.Duration
	MinRate  int64
	// Work is the longest time that a request is worked on.
	Work time.Duration
	// HalfClosed is how long a request is still worked on after its client has
	// closed the connection. A client that closed only its sending side is
	// answered within that time. Requests that change the store are finished in
	// any case.
	HalfClosed time.Duration
}

// DefaultLimits returns limits with budgets of their own.
func DefaultLimits() *Limits { return LimitsFor(0, limits.None) }

// LimitsFor returns limits whose memory budgets have room for two objects of the
// largest size: while one is received, or answered, there is room for others. Each is
// at most a quarter of memory, which the whole process may have.
func LimitsFor(maxObjectSize, memory int64) *Limits {
	bodies, answers := min(max(BodyMemory, 2*maxObjectSize), memory/4), min(max(AnswerMemory, 2*maxObjectSize), memory/4)
	return &Limits{
		Bodies: NewMemory("bodies of requests", bodies, memoryWait), Answers: NewMemory("answers", answers, memoryWait),
		BodyStall: bodyStall, AnswerStall: answerStall, Patience: patience, MinRate: minRate,
		Work: work, HalfClosed: halfClosed,
	}
}

// pace is how fast a client sends a body or takes an answer. Only the time
// counts in which the server waits for the client.
type pace struct {
	*Limits
	stall time.Duration
	bytes int64
	spent time.Duration
}

// deadline is the time at which the client is cut off if nothing moves.
func (p *pace) deadline(now time.Time) time.Time {
	whole := p.Patience + time.Duration(p.bytes/p.MinRate)*time.Second
	return now.Add(min(p.stall, whole-p.spent))
}
