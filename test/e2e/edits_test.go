package e2e

func (c *corpus) edits(play) {}
