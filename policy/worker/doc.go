// Package worker answers: what do policies say of a request, asked where they
// can do no harm? Whoever may write to a policy's repository can make it run for
// ever, and the deadline of OPA's evaluation does not end a built-in that is at
// work. So policies are evaluated in a child that is locked in, and that is
// killed when one of them takes too much; the policy that did is known, and the
// others are asked again without it.
package worker
