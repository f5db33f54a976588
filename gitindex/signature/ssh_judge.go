package signature

import (
	"math"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gitward/gitward/gitindex"
)

// judge asks whether a signature that holds may count: revocation first, then
// what the lists say.
func (r *sshRing) judge(s *sshSigner, signer gitindex.Signer, at moment) gitindex.Verdict {
	if r.revoked[s.fingerprint] {
		return by(signer, refuse(gitindex.SignerRevoked, "SSH key %s is in revoked_keys.", s.fingerprint))
	}
	if s.cert != nil {
		if ca := ssh.FingerprintSHA256(s.cert.SignatureKey); r.revoked[ca] {
			return by(signer, refuse(gitindex.SignerRevoked, "SSH key %s, which signed the certificate, is in revoked_keys.", ca))
		}
		if v := s.judgeCertificate(at); v.Outcome != gitindex.Good {
			return by(signer, v)
		}
	}
	v := r.judgeAllowed(s, at)
	if comment, ok := r.plain[s.fingerprint]; ok && s.cert == nil && v.Outcome != gitindex.Good {
		// A .pub file trusts a key without any bounds.
		v = good(gitindex.Signer{Principal: comment})
	}
	if v.Signer.Principal != "" {
		signer.Principal = v.Signer.Principal
	}
	return by(signer, v)
}

// judgeAllowed walks the allowed_signers lines exactly as git does: ssh-keygen
// -Y find-principals names the principals of the first line that has the key
// and is in time; then ssh-keygen -Y verify looks through all lines again for
// each principal in turn, and now the namespaces count too.
func (r *sshRing) judgeAllowed(s *sshSigner, at moment) gitindex.Verdict {
	principals, v := r.findPrincipals(s, at)
	for _, principal := range principals {
		if v = r.verifyPrincipal(s, principal, at); v.Outcome == gitindex.Good {
			v.Signer.Principal = principal
			return v
		}
	}
	return v
}

func (r *sshRing) findPrincipals(s *sshSigner, at moment) ([]string, gitindex.Verdict) {
	v := unlisted(s)
	for i := range r.lines {
		l := &r.lines[i]
		if !s.concerns(l) {
			continue
		}
		principals := principalsOf(l, s)
		if len(principals) == 0 {
			v = refuse(gitindex.SignerNotValid, "The SSH certificate names no principal that its authority may certify here.")
			continue
		}
		if why := l.judgeTime(at); why.Outcome != gitindex.Good {
			v = why
			continue
		}
		return principals, v
	}
	return nil, v
}

// principalsOf are the line's patterns for a bare key, and for a certificate
// its own principals that match one of them. An empty one ends the list.
func principalsOf(l *allowedLine, s *sshSigner) []string {
	var out []string
	for pattern := range strings.SplitSeq(l.principals, ",") {
		if pattern == "" {
			break
		}
		if s.cert == nil {
			out = append(out, pattern)
			continue
		}
		for _, name := range s.cert.ValidPrincipals {
			if matchPattern(name, pattern) && !strings.ContainsAny(name, ",\n") {
				out = append(out, name)
			}
		}
	}
	return out
}

// verifyPrincipal wants one line that allows the principal this key, now. For a
// certificate the principal is one of its own: findPrincipals took it there.
func (r *sshRing) verifyPrincipal(s *sshSigner, principal string, at moment) gitindex.Verdict {
	v := unlisted(s)
	for i := range r.lines {
		l := &r.lines[i]
		if !matchList(principal, l.principals) || !s.concerns(l) {
			continue
		}
		if l.restricted && !matchList(namespace, l.namespaces) {
			v = refuse(gitindex.SignerNotValid, "SSH key %s may not sign for %s here: its namespaces are %q.", l.fingerprint, namespace, gitindex.Clean(l.namespaces, 80))
			continue
		}
		if v = l.judgeTime(at); v.Outcome == gitindex.Good {
			return v
		}
	}
	return v
}

// unlisted is for a key whose own line excludes all its principals.
func unlisted(s *sshSigner) gitindex.Verdict {
	return refuse(gitindex.SignerNotValid, "SSH key %s is listed, but for no principal.", s.fingerprint)
}

func (l *allowedLine) judgeTime(at moment) gitindex.Verdict {
	for _, t := range []time.Time{at.committed, at.seen} {
		if l.covers(t) {
			continue
		}
		if !l.before.IsZero() && t.After(l.before) {
			return refuse(gitindex.SignerExpired, "SSH key %s was trusted until %s, and this is of %s.", l.fingerprint, day(l.before), day(t))
		}
		return refuse(gitindex.SignerExpired, "SSH key %s is trusted from %s, and this is of %s.", l.fingerprint, day(l.after), day(t))
	}
	return good(gitindex.Signer{})
}

// judgeCertificate asks whether a certificate is one for signing, made by the
// authority it names, and valid. Which principals count is asked later.
func (s *sshSigner) judgeCertificate(at moment) gitindex.Verdict {
	switch {
	case s.cert.CertType != ssh.UserCert:
		return refuse(gitindex.SignerNotValid, "The SSH certificate is not one for users.")
	case len(s.cert.CriticalOptions) > 0:
		return refuse(gitindex.SignerNotValid, "The SSH certificate is limited by critical options, which do not allow for signing.")
	case len(s.cert.ValidPrincipals) == 0:
		return refuse(gitindex.SignerNotValid, "The SSH certificate names no principals.")
	}
	for _, t := range []time.Time{at.committed, at.seen} {
		if second := uint64(max(t.Unix(), 0)); second < s.cert.ValidAfter || second >= s.cert.ValidBefore {
			return refuse(gitindex.SignerExpired, "The SSH certificate is valid from %s to %s, and this is of %s.",
				certTime(s.cert.ValidAfter), certTime(s.cert.ValidBefore), day(t))
		}
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return at.committed }}
	if err := checker.CheckCert(s.cert.ValidPrincipals[0], s.cert); err != nil {
		return refuse(gitindex.UnknownSigner, "The SSH certificate is not signed by the authority it names.")
	}
	return good(gitindex.Signer{})
}

// certTime writes a certificate's bound, of which the greatest means none.
func certTime(seconds uint64) string {
	if seconds > math.MaxUint32 {
		return "ever"
	}
	return day(time.Unix(int64(seconds), 0))
}
