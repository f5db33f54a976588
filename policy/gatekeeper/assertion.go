package gatekeeper

import (
	"errors"
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// judge holds the messages of the violations against all assertions, and says
// which is the first that is wrong.
func judge(assertions []Assertion, messages []string) error {
	for i := range assertions {
		if err := assertions[i].judge(messages); err != nil {
			return fmt.Errorf("%w; the messages are %q", err, messages)
		}
	}
	return nil
}

func (a *Assertion) judge(messages []string) error {
	count, err := a.count(messages)
	if err != nil {
		return err
	}
	want := intstr.FromString("yes")
	if a.Violations != nil {
		want = *a.Violations
	}
	ok := false
	switch {
	case want.Type == intstr.Int && want.IntVal >= 0:
		ok = count == int(want.IntVal)
	case want.Type == intstr.String && want.StrVal == "yes":
		ok = count > 0
	case want.Type == intstr.String && want.StrVal == "no":
		ok = count == 0
	default:
		return fmt.Errorf(`violations is %q, not a number from 0, "yes" or "no"`, want.String())
	}
	if ok {
		return nil
	}
	if a.Message != nil {
		return fmt.Errorf("%d violations match %q, wanted: %s", count, *a.Message, want.String())
	}
	return fmt.Errorf("%d violations, wanted: %s", count, want.String())
}

// count is how many messages match. A regular expression that is none goes
// unnoticed while there are no messages: so it does in `gator`, and a suite that
// passes there passes here.
func (a *Assertion) count(messages []string) (int, error) {
	if a.Message == nil || len(messages) == 0 {
		return len(messages), nil
	}
	like, err := regexp.Compile(*a.Message)
	if err != nil {
		return 0, errors.Join(errors.New("message is no regular expression"), err)
	}
	count := 0
	for _, message := range messages {
		if like.MatchString(message) {
			count++
		}
	}
	return count, nil
}
