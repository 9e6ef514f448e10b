"""Other Python model servers, answering the same question with the same networks."""
