"""What every engine keeps: one file per verb, each sentence of DESIGN.md section 2 a test."""
