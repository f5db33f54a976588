package gate

import (
	"sync"
	"time"
)

// looks remembers for which requests Git has just been looked at. The API server
// asks twice about each request, first for stamps and then for judgement, under
// different uids; one look is enough for both. A mistake here makes a refusal
// stand that a second look might have turned round, never an admission.
type looks struct {
	mu sync.Mutex
	at map[lookKey]time.Time
}

type lookKey struct {
	user, what string
	op         Operation
}

// freshLook is how long the mutating phase's look counts for the judge: longer
// than other webhooks between the two take.
const freshLook = 3 * time.Second

func keyOf(req *Request) lookKey {
	ref := req.Ref()
	return lookKey{req.User.Name, ref.GroupKind() + " " + ref.Namespace + "/" + ref.Name + "/" + req.SubResource, req.Operation}
}

func (l *looks) note(req *Request, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil || len(l.at) > 4096 {
		l.at = map[lookKey]time.Time{}
	}
	l.at[keyOf(req)] = now
}

// recent reports a look for the same request a moment ago, and forgets it: each
// look serves one judgement.
func (l *looks) recent(req *Request, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := keyOf(req)
	at, ok := l.at[key]
	delete(l.at, key)
	return ok && now.Sub(at) >= 0 && now.Sub(at) < freshLook
}
