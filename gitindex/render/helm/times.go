package helm

import (
	"text/template"
	"time"
)

// times do as Sprig's functions do in a process whose local time is UTC, as in
// the images of every tool that applies charts in a cluster.
func (w *world) times() template.FuncMap {
	return template.FuncMap{
		"now":            func() time.Time { return w.now("now") },
		"ago":            func(date any) string { return w.now("ago").Sub(w.instant("ago", date)).Round(time.Second).String() },
		"date":           func(layout string, date any) string { return w.format("date", layout, date, "UTC") },
		"dateInZone":     func(layout string, date any, zone string) string { return w.format("dateInZone", layout, date, zone) },
		"date_in_zone":   func(layout string, date any, zone string) string { return w.format("date_in_zone", layout, date, zone) },
		"htmlDate":       func(date any) string { return w.format("htmlDate", time.DateOnly, date, "UTC") },
		"htmlDateInZone": func(date any, zone string) string { return w.format("htmlDateInZone", time.DateOnly, date, zone) },
		"toDate": func(layout, text string) time.Time {
			t, _ := time.ParseInLocation(layout, text, time.UTC)
			return t
		},
		"mustToDate": func(layout, text string) (time.Time, error) {
			return time.ParseInLocation(layout, text, time.UTC)
		},
		"durationRound": w.durationRound,
	}
}

// instant is the time that a value means; one of another type means now.
func (w *world) instant(f string, date any) time.Time {
	switch date := date.(type) {
	case time.Time:
		return date
	case *time.Time:
		if date != nil {
			return *date
		}
	case int64:
		return time.Unix(date, 0)
	case int:
		return time.Unix(int64(date), 0)
	case int32:
		return time.Unix(int64(date), 0)
	}
	return w.now(f)
}

// format leaves to the other world to show that a zone's rules are not in Git:
// there it is a machine without any, for which Sprig takes UTC.
func (w *world) format(f, layout string, date any, zone string) string {
	t := w.instant(f, date).UTC()
	if zone == "" || zone == "UTC" || zone == "Local" {
		return t.Format(layout)
	}
	where, err := time.LoadLocation(zone)
	if w.ask(f) || err != nil {
		where = time.UTC
	}
	return t.In(where).Format(layout)
}

// durationRound is settled by its argument unless that is a time.
func (w *world) durationRound(d any) string {
	if since, ok := d.(time.Time); ok {
		d = int64(w.now("durationRound").Sub(since))
	}
	return call[func(any) string]("durationRound")(d)
}
