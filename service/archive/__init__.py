"""`cupdisc bulk`: an archive on disk or in a bucket, on one machine or many, through Apache Beam."""
