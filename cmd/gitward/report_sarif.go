package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// What of SARIF 2.1.0 is of use: the findings, each where it is.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID           string          `json:"ruleId"`
		RuleIndex        int             `json:"ruleIndex"`
		Level            severity        `json:"level"`
		Message          sarifText       `json:"message"`
		Locations        []sarifLocation `json:"locations,omitempty"`
		RelatedLocations []sarifLocation `json:"relatedLocations,omitempty"`
	}
	sarifLocation struct {
		ID               int                   `json:"id,omitempty"`
		PhysicalLocation sarifPhysicalLocation `json:"physicalLocation"`
		Message          *sarifText            `json:"message,omitempty"`
	}
	sarifPhysicalLocation struct {
		ArtifactLocation sarifArtifactLocation `json:"artifactLocation"`
		Region           *sarifRegion          `json:"region,omitempty"`
	}
	sarifArtifactLocation struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

func (r *report) sarif(w io.Writer) error {
	driver := sarifDriver{Name: r.command, Version: strings.TrimPrefix(version, "v"), InformationURI: "https://github.com/gitward/gitward", Rules: []sarifRule{}}
	rules := map[string]bool{}
	for i := range r.cases {
		for _, f := range r.cases[i].findings {
			rules[f.rule] = true
		}
	}
	names := slices.Sorted(maps.Keys(rules))
	for _, name := range names {
		about := r.about[name]
		if about == "" {
			about = name
		}
		driver.Rules = append(driver.Rules, sarifRule{ID: name, ShortDescription: sarifText{about}})
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}}
	for i := range r.cases {
		c := &r.cases[i]
		for j := range c.findings {
			f := &c.findings[j]
			run.Results = append(run.Results, f.sarif(c.place(f), slices.Index(names, f.rule)))
		}
	}
	text, err := json.MarshalIndent(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

func (f *reportFinding) sarif(at location, index int) sarifResult {
	text := f.message
	if f.fix != "" {
		text += "\ndo: " + f.fix
	}
	out := sarifResult{RuleID: f.rule, RuleIndex: index, Level: f.severity, Message: sarifText{text}}
	if at.file != "" && at.file != "-" {
		out.Locations = []sarifLocation{at.sarif(0)}
	}
	for i, l := range f.related {
		out.RelatedLocations = append(out.RelatedLocations, l.sarif(i+1))
	}
	return out
}

func (l location) sarif(id int) sarifLocation {
	out := sarifLocation{ID: id, PhysicalLocation: sarifPhysicalLocation{ArtifactLocation: sarifArtifactLocation{(&url.URL{Path: l.file}).String()}}}
	if l.line > 0 {
		out.PhysicalLocation.Region = &sarifRegion{l.line}
	}
	if l.text != "" {
		out.Message = &sarifText{l.text}
	}
	return out
}
