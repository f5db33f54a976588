package signature

import (
	"fmt"
	"time"

	"github.com/gitward/gitward/gitindex"
	"github.com/gitward/gitward/gitindex/object"
)

// The labels of the armors that git writes into a gpgsig header.
const (
	labelPGP  = "PGP SIGNATURE"
	labelSSH  = "SSH SIGNATURE"
	labelX509 = "SIGNED MESSAGE"
)

// moment is when a signature is judged.
type moment struct {
	committed time.Time // as the committer claims
	seen      time.Time // when this gateway first held the commit, or committed where that rule is off
}

// Verify judges one raw commit object (no header). firstSeen is when this
// gateway first held it; zero means that there is no first-seen rule for this
// commit, and the committer date stands in. The same arguments always give the
// same verdict: Verify looks at no clock.
func (k *Keyring) Verify(raw []byte, firstSeen time.Time) gitindex.Verdict {
	commit, err := object.ParseCommit(raw)
	if err != nil {
		return refuse(gitindex.Malformed, "The commit is not read: %v.", err)
	}
	if commit.Signature == nil {
		return refuse(gitindex.Unsigned, "The commit carries no signature.")
	}
	if k.Empty() {
		return refuse(gitindex.NotChecked, "No signers are configured to check the signature against.")
	}
	at := moment{committed: commit.Committer.When, seen: firstSeen}
	if firstSeen.IsZero() {
		at.seen = at.committed
	}
	label, body, err := dearmor(commit.Signature)
	if err != nil {
		return refuse(gitindex.BadSignature, "The signature cannot be read: %v.", err)
	}
	switch label {
	case labelPGP:
		return k.pgp.verify(commit.Payload, body, at)
	case labelSSH:
		return k.ssh.verify(commit.Payload, body, at)
	case labelX509:
		return refuse(gitindex.UnknownSigner, "X.509 signatures are not supported yet.")
	}
	return refuse(gitindex.BadSignature, "The signature is of an unknown kind, %q.", gitindex.Clean(label, 40))
}

func good(signer gitindex.Signer) gitindex.Verdict {
	return gitindex.Verdict{Outcome: gitindex.Good, Signer: signer}
}

// refuse is every verdict but Good; its detail is one plain sentence.
func refuse(outcome gitindex.Outcome, format string, args ...any) gitindex.Verdict {
	return gitindex.Verdict{Outcome: outcome, Detail: fmt.Sprintf(format, args...)}
}

// by names the signer of a verdict.
func by(signer gitindex.Signer, v gitindex.Verdict) gitindex.Verdict {
	v.Signer = signer
	return v
}

// day is how details write a time.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
