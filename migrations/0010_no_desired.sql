-- What a subject is to become is its open operation's, and nothing ever read this.
alter table subjects drop column desired;
