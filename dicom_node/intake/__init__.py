"""Which films are analysed, and when their study is complete."""
