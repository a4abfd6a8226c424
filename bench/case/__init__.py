"""What is measured: one file per case. A case measures one gateway once; the campaign repeats and interleaves."""
