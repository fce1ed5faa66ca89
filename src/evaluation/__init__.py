"""What a detector is worth: how far two agree, how long they take, and the page that says so."""
