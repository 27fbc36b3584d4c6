"""What a role does with one piece of work; called by roles, pages and commands alike."""
